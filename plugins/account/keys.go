package account

import (
	"net"
	"net/netip"
)

// addressKey is what an address is limited by: the host without the port, and
// of IPv6 the network of 64 bits that one customer usually has.
func addressKey(address string) string {
	host := hostOf(address)
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return "address " + host
	}
	if ip = ip.Unmap().WithZone(""); ip.Is6() {
		network, _ := ip.Prefix(64) // 64 fits every IPv6 address
		return "address " + network.String()
	}
	return "address " + ip.String()
}

// hostOf is an address without its port, as devices are shown with it.
func hostOf(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = address
	}
	return host[:min(len(host), 64)]
}

func accountKey(name string) string { return "account " + name }
