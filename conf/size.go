package conf

import (
	"errors"
	"math"
	"strconv"
	"strings"
)

// Size is a number of octets, written 512, 64KiB, 16MiB or 1GiB. It is never
// negative when it was loaded.
type Size int64

// units are the endings of a size, by rising powers of 1,024.
const units = "KMG"

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Size) UnmarshalText(text []byte) error {
	digits, unit := string(text), int64(1)
	for i := range len(units) {
		if number, ok := strings.CutSuffix(digits, units[i:i+1]+"iB"); ok {
			digits, unit = number, 1<<(10*(i+1))
			break
		}
	}
	n, err := strconv.ParseUint(digits, 10, 63)
	if err != nil || int64(n) > math.MaxInt64/unit {
		return errors.New("not a size such as 512, 64KiB, 16MiB or 1GiB")
	}
	*s = Size(int64(n) * unit)
	return nil
}

// MarshalText implements encoding.TextMarshaler.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// String is the size in the greatest unit that gives a whole number.
func (s Size) String() string {
	n, unit := int64(s), ""
	for i := 0; i < len(units) && n != 0 && n%1024 == 0; i++ {
		n, unit = n/1024, units[i:i+1]+"iB"
	}
	return strconv.FormatInt(n, 10) + unit
}
