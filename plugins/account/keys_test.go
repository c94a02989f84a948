package account

import "testing"

func TestAddressKey(t *testing.T) {
	for _, test := range []struct{ a, b string }{
		{"192.0.2.1:1", "192.0.2.1:2"},
		{"192.0.2.1:1", "192.0.2.1"},
		{"[::ffff:192.0.2.1]:1", "192.0.2.1:2"},
		{"[2001:db8::1]:1", "[2001:db8::ffff:2]:2"},
		{"[fe80::1%eth0]:1", "[fe80::2]:1"},
	} {
		if addressKey(test.a) != addressKey(test.b) {
			t.Errorf("%s and %s differ: %q, %q", test.a, test.b, addressKey(test.a), addressKey(test.b))
		}
	}
	for _, test := range []struct{ a, b string }{
		{"192.0.2.1:1", "192.0.2.2:1"},
		{"[2001:db8:0:1::1]:1", "[2001:db8:0:2::1]:1"},
		{"", "192.0.2.1:1"},
	} {
		if addressKey(test.a) == addressKey(test.b) {
			t.Errorf("%s and %s are one: %q", test.a, test.b, addressKey(test.a))
		}
	}
}
