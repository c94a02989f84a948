package account

// Cheap is New with password hashes that cost next to nothing, which Validate
// refuses outside of this package's tests.
func Cheap(changes ...func(*Config)) *Account {
	p := New()
	p.least = cost{64, 1}
	p.config.PasswordMemoryKiB, p.config.PasswordPasses = 64, 1
	p.config.SignUpsPerMinute = 0
	for _, change := range changes {
		change(&p.config)
	}
	return p
}
