package redis

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"freeim/core/presence"
	"freeim/idl"
)

func someRoute() presence.Route {
	return presence.Route{
		SessionRef: presence.SessionRef{Edge: "edge a", Epoch: 1_767_225_600_000_000, Session: math.MaxUint64},
		User:       7, Device: "device {1}", DeviceType: 3, TokenID: 42, Codec: 1, Since: time.UnixMilli(1_767_225_600_123),
	}
}

func TestRoutesAreReadAsWritten(t *testing.T) {
	plain, bare := someRoute(), presence.Route{User: 1}
	bare.Since = time.UnixMilli(-5)
	for _, want := range []presence.Route{plain, bare} {
		got, ok := decodeRoute(want.User, want.Device, "99 "+encodeRoute(&want))
		if !ok || got.listed != 99 || got.Route != want {
			t.Errorf("got %+v, %t, want %+v", got, ok, want)
		}
	}
	value := "99 " + encodeRoute(&plain)
	for n := range len(value) {
		if _, ok := decodeRoute(plain.User, plain.Device, value[:n]); ok {
			t.Errorf("a route cut to %d octets is taken", n)
		}
	}
	if _, ok := decodeRoute(8, plain.Device, value); ok {
		t.Error("another user's route is taken")
	}
	if _, ok := decodeRoute(plain.User, "another", value); ok {
		t.Error("another device's route is taken")
	}
}

// ORDER, as text, is Route.Older.
func TestOrderOfRoutes(t *testing.T) {
	var all []presence.Route
	for _, token := range []int64{0, 1, 9, 10, 1 << 60} {
		for _, since := range []int64{math.MinInt32, -1, 0, 5, 10, 1_767_225_600_123} {
			all = append(all, presence.Route{TokenID: token, Since: time.UnixMilli(since)})
		}
	}
	for _, a := range all {
		for _, b := range all {
			if got, want := orderOf(&a) < orderOf(&b), a.Older(b); got != want {
				t.Errorf("%s before %s: got %t, want %t", orderOf(&a), orderOf(&b), got, want)
			}
		}
	}
	numbers := []int64{math.MinInt64, -10, -9, 0, 9, 10, math.MaxInt64}
	var texts []string
	for _, n := range numbers {
		texts = append(texts, sortable(n))
		if got, ok := readSortable(sortable(n)); !ok || got != n {
			t.Errorf("%d: got %d, %t", n, got, ok)
		}
	}
	if !slices.IsSorted(texts) {
		t.Errorf("%v are not sorted as text", texts)
	}
}

// FuzzRoutes holds that no value in Redis harms, and that whatever is read is
// written the same again. The checksum is put right.
func FuzzRoutes(f *testing.F) {
	r := someRoute()
	_, rest, _ := strings.Cut(encodeRoute(&r), " ")
	f.Add("99", rest, true)
	f.Add("", "", true)
	f.Add("1", "x y z", false)
	f.Fuzz(func(t *testing.T, stamp, rest string, sealed bool) {
		value := stamp + " " + rest
		if sealed {
			value = fmt.Sprintf("%s %08x %s", stamp, routeSum(r.User, r.Device, rest), rest)
		}
		if s, ok := decodeRoute(r.User, r.Device, value); ok {
			if again := fmt.Sprint(s.listed) + " " + encodeRoute(&s.Route); again != value {
				t.Errorf("%q is written %q", value, again)
			}
			if s.DeviceType < 0 || s.Codec != idl.Codec(uint8(s.Codec)) {
				t.Errorf("%q has type %d and codec %d", value, s.DeviceType, s.Codec)
			}
		}
		if k, ok := decodeKeeping(value); ok {
			if again := fmt.Sprintf("%s %d %d", sortable(k.epoch), k.began, k.kept); again != value {
				t.Errorf("%q is written %q", value, again)
			}
		}
	})
}
