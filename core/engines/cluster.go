package engines

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// slots is how many parts a Redis Cluster has. Source: Redis Cluster specification.
const slots = 16384

// Cluster is a running Redis Cluster. It begins without replicas.
type Cluster struct {
	Nodes    []*RedisServer // the masters it began with
	Replicas []*RedisServer // of the node at the same place; see Replicate
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
		node, err := startNode(ctx, filepath.Join(dir, fmt.Sprint("node", i)))
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

func startNode(ctx context.Context, dir string) (*RedisServer, error) {
	return startRedis(ctx, RedisOptions{Dir: dir}, []int{0, 0}, func(ports []int) []string {
		return []string{"cluster-enabled yes", "cluster-node-timeout 5000", fmt.Sprint("cluster-port ", ports[1])}
	})
}

// Replicate gives each node a replica, in directories below dir, and returns when all
// have caught up. A node that is killed is replaced by its replica within ten seconds
// or so.
func (c *Cluster) Replicate(ctx context.Context, dir string) error {
	for i, node := range c.Nodes {
		replica, err := startNode(ctx, filepath.Join(dir, fmt.Sprint("replica", i)))
		if err != nil {
			return err
		}
		c.Replicas = append(c.Replicas, replica)
		if _, err := askRedis(ctx, replica.Addr(), meet(node)...); err != nil {
			return err
		}
	}
	if err := c.whole(ctx); err != nil {
		return err
	}
	ids := make([]string, len(c.Nodes))
	for i, replica := range c.Replicas {
		id, err := askRedis(ctx, c.Nodes[i].Addr(), "CLUSTER", "MYID")
		if err != nil {
			return err
		}
		ids[i] = id
		if _, err := askRedis(ctx, replica.Addr(), "CLUSTER", "REPLICATE", id); err != nil {
			return err
		}
	}
	for i, replica := range c.Replicas {
		if err := replica.await(ctx, says(replica, "master_link_status:up", "INFO", "replication")); err != nil {
			return err
		}
		for _, node := range c.Nodes { // who would vote for it knows whose it is
			if err := node.await(ctx, says(node, loopback(replica.ports[0]), "CLUSTER", "REPLICAS", ids[i])); err != nil {
				return err
			}
		}
	}
	return nil
}

// meet makes a node known to the one that is told so.
func meet(node *RedisServer) []string {
	return []string{"CLUSTER", "MEET", "127.0.0.1", strconv.Itoa(node.ports[0]), strconv.Itoa(node.ports[1])}
}

// Move carries a slot with its keys from one master to another, as redis-cli does, and
// calls between when the keys have moved and the slot has not: whoever asks for them is
// sent on with ASK.
func (c *Cluster) Move(ctx context.Context, slot int, from, to *RedisServer, between func()) error {
	number := strconv.Itoa(slot)
	source, err := askRedis(ctx, from.Addr(), "CLUSTER", "MYID")
	if err != nil {
		return err
	}
	target, err := askRedis(ctx, to.Addr(), "CLUSTER", "MYID")
	if err != nil {
		return err
	}
	if _, err := askRedis(ctx, to.Addr(), "CLUSTER", "SETSLOT", number, "IMPORTING", source); err != nil {
		return err
	}
	if _, err := askRedis(ctx, from.Addr(), "CLUSTER", "SETSLOT", number, "MIGRATING", target); err != nil {
		return err
	}
	if err := moveKeys(ctx, number, from, to); err != nil {
		return err
	}
	between()
	for _, node := range []*RedisServer{to, from} { // the others hear of it
		if _, err := askRedis(ctx, node.Addr(), "CLUSTER", "SETSLOT", number, "NODE", target); err != nil {
			return err
		}
	}
	return nil
}

func moveKeys(ctx context.Context, slot string, from, to *RedisServer) error {
	for {
		keys, err := askRedis(ctx, from.Addr(), "CLUSTER", "GETKEYSINSLOT", slot, "100")
		if err != nil || keys == "" {
			return err
		}
		command := []string{"MIGRATE", "127.0.0.1", strconv.Itoa(to.ports[0]), "", "0", "5000", "KEYS"}
		if _, err := askRedis(ctx, from.Addr(), append(command, strings.Split(keys, "\n")...)...); err != nil {
			return err
		}
	}
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
			commands = append(commands, meet(other))
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
	all := slices.Concat(c.Nodes, c.Replicas)
	for _, node := range all {
		for _, words := range []string{"cluster_state:ok", fmt.Sprint("cluster_known_nodes:", len(all))} {
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
	for _, node := range slices.Concat(c.Nodes, c.Replicas) {
		errs = append(errs, node.Kill())
	}
	return errors.Join(errs...)
}
