package account

import "context"

// lookBatch is how many tokens one query looks up.
const lookBatch = 128

// holder is whose a token is.
type holder struct {
	device device
	user   user
}

// holder finds whose token has the hash, joined with what others ask at the time. It returns
// errUnknown when it is not valid.
func (p *Account) holder(ctx context.Context, hash string) (device, user, error) {
	one, found, err := p.looks.Find(ctx, hash)
	if err == nil && !found {
		err = errUnknown
	}
	return one.device, one.user, err
}
