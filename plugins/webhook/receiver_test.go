package webhook_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"
	"time"
)

// receiver:begin

// verify checks a delivery as a receiver must: header is Freeim-Signature, body what came, octet by octet.
func verify(header string, body, secret []byte, now time.Time) error {
	stamp, signatures, _ := strings.Cut(strings.TrimPrefix(header, "t="), ",")
	at, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil || now.Sub(time.Unix(at, 0)).Abs() > 5*time.Minute {
		return errors.New("too old, or no time: perhaps somebody repeats it")
	}
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(stamp + "."))
	mac.Write(body)
	for one := range strings.SplitSeq(signatures, ",") {
		got, err := hex.DecodeString(strings.TrimPrefix(one, "v1="))
		if err == nil && hmac.Equal(got, mac.Sum(nil)) {
			return nil
		}
	}
	return errors.New("not signed with our secret")
}

// receiver:end
