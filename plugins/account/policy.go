package account

import (
	"fmt"
	"slices"

	"freeim/core/im"
	"freeim/idl"
)

// DeviceLimit says how many devices of some types a person may be signed in on.
type DeviceLimit struct {
	// Types are counted together: mobile, desktop, web, tablet.
	Types []string `yaml:"types"`
	// Most is how many there may be.
	Most int `yaml:"most"`
	// Beyond is what a sign-in of one more does: "kick" ends the oldest of them, "refuse"
	// is refused itself.
	Beyond string `yaml:"beyond"`
}

const (
	beyondKick   = "kick"
	beyondRefuse = "refuse"

	// mostDevices is how many one may be signed in on whatever the limits say; beyond it the
	// oldest ends.
	mostDevices = 64
)

// oneOfEach are the limits by default.
func oneOfEach() (limits []DeviceLimit) {
	for _, t := range []idl.DeviceType{idl.DeviceMobile, idl.DeviceDesktop, idl.DeviceWeb, idl.DeviceTablet} {
		limits = append(limits, DeviceLimit{Types: []string{idl.DeviceTypeName(t)}, Most: 1, Beyond: beyondKick})
	}
	return limits
}

func (l DeviceLimit) validate(key string) error {
	for _, name := range l.Types {
		if idl.DeviceTypeNamed(name) == idl.DeviceUnknown || name == idl.DeviceTypeName(idl.DeviceUnknown) {
			return im.Invalid(key+".types", "%q is none of mobile, desktop, web, tablet", name)
		}
	}
	switch {
	case len(l.Types) == 0:
		return im.Invalid(key+".types", "must name one at least")
	case l.Most < 1 || l.Most > mostDevices:
		return im.Invalid(key+".most", "must be 1-%d", mostDevices)
	case l.Beyond != beyondKick && l.Beyond != beyondRefuse:
		return im.Invalid(key+".beyond", "must be kick or refuse")
	}
	return nil
}

func validateLimits(limits []DeviceLimit) error {
	for i, l := range limits {
		if err := l.validate(fmt.Sprintf("account.devices[%d]", i)); err != nil {
			return err
		}
	}
	return nil
}

// counts reports whether the limit is about devices of a type.
func (l DeviceLimit) counts(t idl.DeviceType) bool {
	return slices.Contains(l.Types, idl.DeviceTypeName(t))
}

// displaced is the kick policy: which of the devices that a person is signed in on end when
// he signs in on fresh, or the refusal of that. The device's own earlier sign-in always
// ends. Limits that kick are looked at first: what they end, the others do not count.
// Devices whose token is void, as expired says, keep nobody out.
func displaced(limits []DeviceLimit, fresh device, all []device, expired func(device) bool) (ended []device, err error) {
	rest := slices.Clone(all)
	slices.SortFunc(rest, func(a, b device) int { return int(a.signIn - b.signIn) })
	end := func(of func(device) bool, n int) {
		rest = slices.DeleteFunc(rest, func(d device) bool {
			if n <= 0 || !of(d) {
				return false
			}
			n--
			ended = append(ended, d)
			return true
		})
	}
	end(func(d device) bool { return d.id == fresh.id }, 1)
	for _, beyond := range []string{beyondKick, beyondRefuse} {
		for _, l := range limits {
			if l.Beyond != beyond || !l.counts(fresh.deviceType) {
				continue
			}
			counted := func(d device) bool { return l.counts(d.deviceType) }
			over := func() int { return count(rest, counted) + 1 - l.Most }
			if beyond == beyondKick {
				end(counted, over())
				continue
			}
			end(func(d device) bool { return counted(d) && expired(d) }, over())
			if over() > 0 {
				return nil, &im.Error{Code: idl.CodeLimitExceeded, Field: "device.type",
					Reason: "signed in on as many devices of this type as may be: sign one out first"}
			}
		}
	}
	end(func(device) bool { return true }, len(rest)+1-mostDevices)
	return ended, nil
}

func count(all []device, of func(device) bool) (n int) {
	for _, d := range all {
		if of(d) {
			n++
		}
	}
	return n
}
