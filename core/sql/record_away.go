package sql

import (
	"context"
	"fmt"
	"time"
)

// awaitReturn asks MySQL until it answers. If it does not do so at once, what is
// queued and whatever comes is refused meanwhile.
func (c *recordCommitter) awaitReturn(ctx context.Context, cause error) {
	away := fmt.Errorf("MySQL is away: %w", cause)
	for c.ping(ctx) != nil {
		c.unpark(away)
		if c.away.Swap(&away) == nil {
			c.log.Error("MySQL is away: messages are refused", "err", cause)
		}
		c.refuse(away)
		select {
		case <-time.After(100 * time.Millisecond):
		case <-c.closing:
			return
		}
	}
	c.lostConnection()
	if c.away.Swap(nil) != nil {
		c.log.Info("MySQL is back")
	}
}

// ping asks once, with a connection that may be new, for a second.
func (c *recordCommitter) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	conn, err := c.writers.Conn(ctx)
	if err != nil {
		return err
	}
	if _, err := conn.ExecContext(ctx, "DO 1"); err != nil {
		discard(conn)
		return err
	}
	c.answer()
	return conn.Close()
}

// refuse finishes what is queued with err.
func (c *recordCommitter) refuse(err error) {
	if c.held != nil {
		c.held.finish(c.Record, err)
		c.held = nil
	}
	for {
		select {
		case o := <-c.queue:
			c.figures.failed.Inc()
			o.finish(c.Record, err)
		default:
			return
		}
	}
}
