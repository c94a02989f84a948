package browser

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
)

// errGone says that the browser ended, or closed its side of the pipe.
var errGone = errors.New("the browser is gone")

// conn speaks the DevTools protocol: JSON texts, each ended by a zero octet.
// Safe for concurrent use.
type conn struct {
	commands io.WriteCloser
	events   io.ReadCloser
	done     chan struct{} // closed by the read loop when it ends

	mu       sync.Mutex // guards the fields below, and writing to commands
	last     int
	waiting  map[int]chan answer
	sessions map[string]func(method string, params json.RawMessage)
}

// message is what travels on the pipe in either direction.
type message struct {
	ID      int             `json:"id,omitempty"`
	Session string          `json:"sessionId,omitempty"`
	Method  string          `json:"method,omitempty"`
	Params  json.RawMessage `json:"params,omitempty"`
	Result  json.RawMessage `json:"result,omitempty"`
	Error   *fault          `json:"error,omitempty"`
}

type fault struct {
	Message string `json:"message"`
	Data    string `json:"data"`
}

type answer struct {
	result json.RawMessage
	err    error
}

func newConn(commands io.WriteCloser, events io.ReadCloser) *conn {
	c := &conn{
		commands: commands, events: events, done: make(chan struct{}),
		waiting:  make(map[int]chan answer),
		sessions: make(map[string]func(string, json.RawMessage)),
	}
	go c.read()
	return c
}

// listen gives the events of a session to handle, which must not block.
func (c *conn) listen(session string, handle func(method string, params json.RawMessage)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sessions[session] = handle
}

// call runs a method of the protocol in a session ("": the browser itself) and
// decodes its result into result, unless that is nil.
func (c *conn) call(ctx context.Context, session, method string, params, result any) error {
	id, reply, err := c.send(session, method, params)
	if err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	select {
	case a := <-reply:
		err = a.err
		if err == nil && result != nil {
			err = json.Unmarshal(a.result, result)
		}
	case <-c.done:
		err = errGone
	case <-ctx.Done():
		c.forget(id)
		err = ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	return nil
}

func (c *conn) send(session, method string, params any) (id int, reply chan answer, err error) {
	m := message{Session: session, Method: method}
	if params != nil {
		if m.Params, err = json.Marshal(params); err != nil {
			return 0, nil, err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last++
	m.ID = c.last
	line, err := json.Marshal(m)
	if err != nil {
		return 0, nil, err
	}
	reply = make(chan answer, 1)
	c.waiting[m.ID] = reply
	if _, err := c.commands.Write(append(line, 0)); err != nil {
		delete(c.waiting, m.ID)
		return 0, nil, errGone
	}
	return m.ID, reply, nil
}

func (c *conn) forget(id int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.waiting, id)
}

// read is the only reader of events; it ends when the pipe does.
func (c *conn) read() {
	defer close(c.done)
	in := bufio.NewReader(c.events)
	for {
		text, err := in.ReadBytes(0)
		if err != nil {
			return
		}
		var m message
		if json.Unmarshal(text[:len(text)-1], &m) == nil {
			c.take(m)
		}
	}
}

func (c *conn) take(m message) {
	c.mu.Lock()
	reply, handle := c.waiting[m.ID], c.sessions[m.Session]
	delete(c.waiting, m.ID)
	c.mu.Unlock()
	switch {
	case reply != nil && m.Error != nil:
		reply <- answer{err: fmt.Errorf("%s %s", m.Error.Message, m.Error.Data)}
	case reply != nil:
		reply <- answer{result: m.Result}
	case m.Method != "" && handle != nil:
		handle(m.Method, m.Params)
	}
}

// close ends both pipes and waits for the read loop.
func (c *conn) close() {
	c.commands.Close()
	c.events.Close()
	<-c.done
}
