package engines

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
)

// slots is how many parts a Redis Cluster has. Source: Redis Cluster specification.
const slots = 16384

// Cluster is a running Redis Cluster of masters without replicas.
type Cluster struct {
	Nodes []*RedisServer
}

// StartRedisCluster starts a Cluster of so many masters, in directories below
// dir, and returns when every node serves. The error is ErrMissing if there is no
// redis-server.
func StartRedisCluster(ctx context.Context, dir string, masters int) (_ *Cluster, err error) {
	c := &Cluster{}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Kill())
		}
	}()
	for i := range masters {
		node, err := startRedis(ctx, RedisOptions{Dir: filepath.Join(dir, fmt.Sprint("node", i))}, []int{0, 0}, func(ports []int) []string {
			return []string{"cluster-enabled yes", "cluster-node-timeout 5000", fmt.Sprint("cluster-port ", ports[1])}
		})
		if err != nil {
			return nil, err
		}
		c.Nodes = append(c.Nodes, node)
	}
	if err := c.form(ctx); err != nil {
		return nil, fmt.Errorf("form the Redis Cluster: %w", err)
	}
	return c, nil
}

// form gives each node its share of the slots, makes it known to those before it,
// and waits until every node knows of all slots.
func (c *Cluster) form(ctx context.Context) error {
	for i, node := range c.Nodes {
		from, to := i*slots/len(c.Nodes), (i+1)*slots/len(c.Nodes)-1
		commands := [][]string{
			{"CLUSTER", "SET-CONFIG-EPOCH", strconv.Itoa(i + 1)}, // different from the beginning: no collisions to resolve
			{"CLUSTER", "ADDSLOTSRANGE", strconv.Itoa(from), strconv.Itoa(to)},
		}
		for _, other := range c.Nodes[:i] {
			commands = append(commands, []string{"CLUSTER", "MEET", "127.0.0.1", strconv.Itoa(other.ports[0]), strconv.Itoa(other.ports[1])})
		}
		for _, command := range commands {
			if _, err := askRedis(ctx, node.Addr(), command...); err != nil {
				return err
			}
		}
	}
	return c.whole(ctx)
}

// whole waits until every node knows all others and serves. A node that starts
// waits for two seconds before it does.
func (c *Cluster) whole(ctx context.Context) error {
	for _, node := range c.Nodes {
		for _, words := range []string{"cluster_state:ok", fmt.Sprint("cluster_known_nodes:", len(c.Nodes))} {
			if err := node.await(ctx, says(node, words, "CLUSTER", "INFO")); err != nil {
				return err
			}
		}
	}
	return nil
}

// Addrs are the nodes' HOST:PORT.
func (c *Cluster) Addrs() []string {
	var all []string
	for _, node := range c.Nodes {
		all = append(all, node.Addr())
	}
	return all
}

// RestartEmpty runs all nodes again with nothing in them; they stay one Cluster.
func (c *Cluster) RestartEmpty(ctx context.Context) error {
	for _, node := range c.Nodes {
		if err := node.RestartEmpty(ctx); err != nil {
			return err
		}
	}
	return c.whole(ctx)
}

// Kill ends all nodes.
func (c *Cluster) Kill() error {
	var errs []error
	for _, node := range c.Nodes {
		errs = append(errs, node.Kill())
	}
	return errors.Join(errs...)
}
