import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Action, Client, CloseReason, Code, SignOutScope, memoryStorage, webStorage } from '../freeim.js';
import { FakeClock, FakeServer, listen } from './fake.mjs';

/** A server with alice and bob, and makers of clients on it. */
function world() {
  const clock = new FakeClock();
  const server = new FakeServer(clock);
  const people = { alice: server.account('alice'), bob: server.account('bob') };
  const make = (options = {}) => new Client({ url: 'ws://x/ws', clock, WebSocket: server.WebSocket, random: () => 0.5, ...options });
  const online = async (account, options) => {
    const client = make(options);
    const seen = listen(client);
    client.signIn({ account, password: 'password' });
    await clock.until(() => seen.synced > 0);
    return { client, seen };
  };
  return { clock, server, make, online, ...people };
}

/** The outcome of a promise while the clock runs. */
async function outcome(clock, promise) {
  let result;
  promise.then((value) => (result = { value }), (error) => (result = { error }));
  await clock.until(() => result);
  if (result.error) throw result.error;
  return result.value;
}

test('sign up, sign in, online', async () => {
  const { clock, make } = world();
  const client = make();
  const seen = listen(client);
  assert.equal(await outcome(clock, client.signUp({ account: 'carol', password: 'password' })), 1003);
  assert.equal(client.state, 'offline');
  const me = await outcome(clock, client.signIn({ account: 'carol', password: 'password' }));
  assert.deepEqual(me, { user_id: 1003, account: 'carol', nickname: 'carol' });
  assert.deepEqual(client.user, me);
  assert.deepEqual(seen.states.map(({ state }) => state), ['connecting', 'connecting', 'online']);
});

test('a wrong password is a Refusal, and the client is offline', async () => {
  const { clock, make, server } = world();
  const client = make();
  await assert.rejects(outcome(clock, client.signIn({ account: 'alice', password: 'nonsense' })), { name: 'Refusal', code: Code.BAD_CREDENTIALS });
  assert.equal(client.state, 'offline');
  assert.equal(server.sockets.size, 0);
  await assert.rejects(client.connect(), { code: Code.UNAUTHENTICATED });
});

test('a server that is down is Unanswered', async () => {
  const { clock, make, server } = world();
  server.down = true;
  const client = make();
  await assert.rejects(outcome(clock, client.signIn({ account: 'alice', password: 'password' })), { name: 'Unanswered' });
  assert.equal(client.state, 'offline');
});

test('close while signing in ends it', async () => {
  const { clock, make, server } = world();
  const client = make();
  const signing = outcome(clock, client.signIn({ account: 'alice', password: 'password' }));
  client.close();
  await assert.rejects(signing, { name: 'Unanswered' });
  assert.equal(client.state, 'offline');
  assert.equal(client.signedIn, false);
  assert.equal(server.sockets.size, 0);
});

test('a notice is told as it comes, with what JSON left out', async () => {
  const { online, server, clock, alice } = world();
  const a = await online('alice');
  const got = [];
  a.client.addEventListener('notice', ({ detail }) => got.push(detail));
  for (const socket of server.sessions(alice.user_id)) {
    server.push(socket, Action.NOTICE, { event: 'poll.closed', data: '{"yes":2}', time_ms: 5 });
    server.push(socket, Action.NOTICE, { event: 'hello', text: 'there' });
  }
  await clock.until(() => got.length === 2);
  assert.deepEqual(got, [
    { event: 'poll.closed', text: '', data: '{"yes":2}', time_ms: 5 },
    { event: 'hello', text: 'there', data: '', time_ms: 0 },
  ]);
});

for (const mode of ['binary', 'text']) {
  test(`two people talk in ${mode} mode`, async () => {
    const { online, clock, alice, bob } = world();
    const a = await online('alice', { mode });
    const b = await online('bob', { mode });
    const out = a.client.send(bob.user_id, 'hello');
    const states = [out.state];
    a.client.addEventListener('outgoing', ({ detail }) => states.push(detail.state));
    await clock.until(() => out.state === 'delivered');
    assert.deepEqual(states, ['queued', 'committed', 'delivered']);
    assert.equal((await out.committed).text, 'hello');
    assert.equal((await out.delivered).seq, 1);
    assert.deepEqual(b.seen.messages.map(({ own, inboxSeq, message }) => [own, inboxSeq, message.sender_id, message.text]), [[false, 1, alice.user_id, 'hello']]);
    assert.deepEqual(a.seen.messages.map(({ own, outgoing }) => [own, outgoing]), [[true, out]]);
    assert.equal(a.client.deliveredSeq(out.message.conversation_id), 1);
  });
}

test('the sender\'s other device sees the message as his own', async () => {
  const { online, clock, bob } = world();
  const a = await online('alice');
  const other = await online('alice');
  a.client.send(bob.user_id, 'from the first');
  await clock.until(() => other.seen.texts.length === 1);
  assert.deepEqual([other.seen.messages[0].own, other.seen.messages[0].outgoing], [true, undefined]);
});

test('what was missed comes in pages, once and in order', async () => {
  const { online, server, alice, bob } = world();
  const texts = Array.from({ length: 450 }, (_, i) => `m${i}`);
  for (const text of texts) server.commit(alice.user_id, bob.user_id, text);
  const { client, seen } = await online('bob');
  assert.deepEqual(seen.texts, texts);
  assert.equal(client.cursor, 450);
  assert.equal(server.requests.filter(({ action }) => action === Action.SYNC).length, 3);
});

test('a lost push shows as a gap and is fetched', async () => {
  const { online, server, clock, alice, bob } = world();
  const { seen } = await online('bob');
  server.fate = (_, { message }) => (message?.text === 'lost' ? 'drop' : undefined);
  for (const text of ['one', 'lost', 'three']) server.commit(alice.user_id, bob.user_id, text);
  await clock.until(() => seen.texts.length === 3);
  assert.deepEqual(seen.texts, ['one', 'lost', 'three']);
});

test('repeated and overtaken pushes cost no sync', async () => {
  const { online, server, clock, alice, bob } = world();
  const { seen } = await online('bob');
  server.fate = (_, { message }) => ({ twice: 'twice', late: 'late' })[message?.text];
  for (const text of ['twice', 'late', 'three']) server.commit(alice.user_id, bob.user_id, text);
  await clock.advance(1000);
  assert.deepEqual(seen.texts, ['twice', 'late', 'three']);
  assert.equal(server.requests.filter(({ action }) => action === Action.SYNC).length, 1);
});

test('a Sync push brings what was lost', async () => {
  const { online, server, clock, alice, bob } = world();
  const { seen } = await online('bob');
  server.fate = (action) => (action === Action.MESSAGE ? 'drop' : undefined);
  server.commit(alice.user_id, bob.user_id, 'silent');
  server.push(server.sessions(bob.user_id)[0], Action.SYNC, {});
  await clock.until(() => seen.texts.length === 1);
  assert.deepEqual(seen.texts, ['silent']);
});

test('acks are cumulative, and go out after the storage holds the messages', async () => {
  const { make, server, clock, alice, bob } = world();
  for (let i = 0; i < 5; i++) server.commit(alice.user_id, bob.user_id, `m${i}`);
  let stored = 0;
  const acks = []; // seq, and the cursor stored at that moment
  const client = make({ storage: { load: () => null, save: ({ inbox }) => (stored = inbox.cursor) } });
  client.addEventListener('frame', ({ detail: { direction, action, body } }) => {
    if (direction === 'out' && action === Action.MESSAGE_ACK) acks.push([body.seq, stored]);
  });
  client.signIn({ account: 'bob', password: 'password' });
  await clock.until(() => acks.length > 0);
  await clock.advance(1000);
  assert.deepEqual(acks, [[5, 5]]);
});

test('an ack that found no answer is sent again on the next connection', async () => {
  const { online, server, clock, alice, bob } = world();
  const a = await online('alice');
  await online('bob');
  server.meddle = ({ action }) => (action === Action.MESSAGE_ACK ? 'drop' : undefined);
  const out = a.client.send(bob.user_id, 'hi');
  await clock.until(() => out.state === 'committed');
  await clock.advance(100);
  server.meddle = () => undefined;
  server.sessions(bob.user_id)[0].cut();
  await clock.until(() => out.state === 'delivered');
});

test('receipts that moved while away come with the sync', async () => {
  const { online, server, clock, bob } = world();
  const a = await online('alice');
  const out = a.client.send(bob.user_id, 'hi');
  await clock.until(() => out.state === 'committed');
  server.down = true;
  server.cutAll();
  await clock.advance(100);
  server.down = false;
  await online('bob');
  await clock.until(() => out.state === 'delivered');
  assert.equal(a.seen.receipts.length, 1);
});

test('a lost connection is replaced, with growing pauses', async () => {
  const { online, server, clock } = world();
  const { client, seen } = await online('alice');
  await clock.advance(10_000);
  server.down = true;
  server.cutAll();
  await clock.advance(200_000);
  const pauses = seen.states.filter(({ state }) => state === 'waiting').map(({ retryInMs }) => retryInMs);
  assert.deepEqual(pauses.slice(0, 7), [750, 1500, 3000, 6000, 12_000, 22_500, 22_500]);
  server.down = false;
  await clock.until(() => client.state === 'online');
  assert.equal(server.sockets.size, 1);
});

test('retry ends the pause', async () => {
  const { online, server, clock } = world();
  const { client } = await online('alice');
  server.down = true;
  server.cutAll();
  await clock.advance(60_000);
  await clock.until(() => client.state === 'waiting');
  server.down = false;
  client.retry();
  await clock.advance(50);
  assert.equal(client.state, 'online');
});

test('Quit with reconnect is obeyed: the wait and its random part', async () => {
  const { online, server, clock, alice } = world();
  const { client, seen } = await online('alice');
  const [socket] = server.sessions(alice.user_id);
  socket.quit({ reason: CloseReason.SHUTDOWN, message: 'restart', reconnect: true, retry_after_ms: 2000, jitter_ms: 1000 });
  await clock.until(() => client.state === 'waiting');
  assert.equal(seen.states.at(-1).retryInMs, 2500);
  await clock.until(() => client.state === 'online');
});

for (const [name, reason, keepsToken] of [['KICKED', 4501, false], ['SIGNED_OUT', 4502, false], ['REPLACED', 4500, true], ['REMOVED', 4504, true], ['FLOOD', 4513, true]]) {
  test(`Quit ${name} ends the session for good`, async () => {
    const { online, server, clock, alice } = world();
    const { client, seen } = await online('alice');
    server.sessions(alice.user_id)[0].quit({ reason, message: 'because' });
    await clock.advance(100_000);
    assert.equal(client.state, 'ended');
    assert.deepEqual([seen.states.at(-1).ending.reason, seen.states.at(-1).ending.message], [reason, 'because']);
    assert.equal(server.opened, 1);
    assert.equal(client.signedIn, keepsToken);
  });
}

test('an Auth of its own that was taken late does not end the session', async () => {
  const { make, server, clock, alice } = world();
  const client = make();
  let first = true;
  server.meddle = ({ action }) => {
    if (action !== Action.AUTH || !first) return undefined;
    first = false;
    server.cutAll();
    return 'drop';
  };
  client.signIn({ account: 'alice', password: 'password' });
  await clock.until(() => client.state === 'online');
  const replaced = { reason: CloseReason.REPLACED, message: 'the device has a newer session' };
  server.sessions(alice.user_id)[0].quit(replaced);
  await clock.until(() => client.state === 'waiting');
  await clock.until(() => client.state === 'online');
  await clock.advance(60_000);
  server.sessions(alice.user_id)[0].quit(replaced);
  await clock.until(() => client.state === 'ended');
});

test('without Quit the close code decides', async () => {
  const { online, server, clock, alice } = world();
  const { client, seen } = await online('alice');
  server.sessions(alice.user_id)[0].hangUp(CloseReason.SLOW);
  await clock.until(() => client.state === 'waiting');
  await clock.until(() => client.state === 'online');
  server.sessions(alice.user_id)[0].hangUp(CloseReason.KICKED);
  await clock.until(() => client.state === 'ended');
  assert.equal(seen.states.at(-1).ending.message, 'KICKED');
});

test('a token that is not valid any more ends the session', async () => {
  const { online, server, clock } = world();
  const { client, seen } = await online('alice');
  server.revoke();
  server.cutAll();
  await clock.until(() => client.state === 'ended');
  assert.equal(seen.states.at(-1).error.code, Code.UNAUTHENTICATED);
  assert.equal(client.signedIn, false);
});

test('an Auth that is refused for now is tried again', async () => {
  const { make, server, clock } = world();
  const client = make();
  let left = 2;
  server.meddle = ({ action }) => (action === Action.AUTH && left-- > 0 ? { code: Code.UNAVAILABLE, retry_after_ms: 500 } : undefined);
  client.signIn({ account: 'alice', password: 'password' });
  await clock.until(() => client.state === 'online');
  assert.equal(server.opened, 3);
});

test('heartbeats keep the session, and find a dead connection', async () => {
  const { online, server, clock } = world();
  const { client } = await online('alice');
  await clock.advance(120_000);
  const beats = server.requests.filter(({ action }) => action === Action.HEARTBEAT).length;
  assert.ok(beats >= 4 && beats <= 5, `${beats} heartbeats in two minutes`);
  assert.equal(server.opened, 1);
  server.meddle = () => 'drop';
  await clock.until(() => client.state !== 'online');
  server.meddle = () => undefined;
  await clock.until(() => client.state === 'online');
});

for (const [name, data] of [['a partial frame', new Uint8Array(20).fill(2).buffer], ['no text frame', 'hello'], ['a version unknown', new Uint8Array(13).buffer]]) {
  test(`${name} costs the connection, not the session`, async () => {
    const { online, server, clock, alice, bob } = world();
    const { client, seen } = await online('alice');
    server.sessions(alice.user_id)[0].raw(data);
    await clock.until(() => client.state === 'waiting');
    server.commit(bob.user_id, alice.user_id, 'meanwhile');
    await clock.until(() => seen.texts.length === 1);
  });
}

test('another epoch: the inbox is read anew', async () => {
  const { online, server, clock, alice, bob } = world();
  const { client, seen } = await online('bob');
  server.meddle = ({ action }) => (action === Action.MESSAGE_ACK ? 'drop' : undefined);
  for (const text of ['old', 'older', 'oldest']) server.commit(alice.user_id, bob.user_id, text);
  await clock.until(() => seen.texts.length === 3);
  server.meddle = () => undefined;
  server.requests = [];
  server.reset('e2');
  server.commit(alice.user_id, bob.user_id, 'new one');
  server.commit(alice.user_id, bob.user_id, 'new two');
  server.cutAll();
  await clock.until(() => seen.synced >= 2);
  assert.deepEqual(seen.resets, ['epoch']);
  assert.deepEqual(seen.texts.slice(-2), ['new one', 'new two']);
  assert.equal(client.cursor, 2);
  await clock.advance(1000);
  const acks = server.requests.filter(({ action }) => action === Action.MESSAGE_ACK);
  assert.deepEqual(acks.map(({ body }) => body.seq), [2], 'what was to be acknowledged before means nothing now');
});

test('an epoch that changes under a session, and a trimmed inbox', async () => {
  const { online, server, clock, alice, bob } = world();
  const { client, seen } = await online('bob');
  for (const text of ['a', 'b', 'c']) server.commit(alice.user_id, bob.user_id, text);
  await clock.until(() => seen.texts.length === 3);
  server.reset('e2');
  server.commit(alice.user_id, bob.user_id, 'd');
  server.push(server.sessions(bob.user_id)[0], Action.SYNC, {});
  await clock.until(() => seen.resets.length === 1);
  assert.deepEqual([seen.texts.at(-1), client.cursor], ['d', 1]);

  client.close();
  for (let i = 0; i < 9; i++) server.commit(alice.user_id, bob.user_id, `e${i}`);
  server.inboxes.get(bob.user_id).splice(0, 6);
  client.connect();
  await clock.until(() => seen.resets.length === 2);
  assert.deepEqual(seen.resets, ['epoch', 'trimmed']);
  assert.deepEqual(seen.texts.slice(-4), ['e5', 'e6', 'e7', 'e8']);
});

test('a page load later: the token, the cursor and the device are kept', async () => {
  const { online, make, server, clock, alice, bob } = world();
  const area = new Map();
  const web = { getItem: (key) => area.get(key) ?? null, setItem: (key, value) => area.set(key, value) };
  const first = await online('bob', { storage: webStorage('chat', web) });
  server.commit(alice.user_id, bob.user_id, 'before');
  await clock.until(() => first.seen.texts.length === 1);
  first.client.close();
  server.commit(alice.user_id, bob.user_id, 'between');
  const second = make({ storage: webStorage('chat', web) });
  const seen = listen(second);
  assert.equal(second.device.id, first.client.device.id);
  assert.equal(second.user.account, 'bob');
  second.connect();
  await clock.until(() => seen.synced > 0);
  assert.deepEqual(seen.texts, ['between']);
});

test('another person on the same storage begins with an empty inbox', async () => {
  const { online, make, server, clock, alice, bob } = world();
  const storage = memoryStorage();
  server.commit(alice.user_id, bob.user_id, 'for both');
  const first = await online('bob', { storage });
  first.client.close();
  const second = make({ storage });
  const seen = listen(second);
  const unsent = second.send(alice.user_id, 'never sent');
  second.signIn({ account: 'alice', password: 'password' });
  await clock.until(() => seen.synced > 0);
  assert.deepEqual(seen.resets, ['user']);
  assert.deepEqual(seen.texts, ['for both']);
  assert.equal(unsent.state, 'refused');
  assert.equal(server.logs.get('c_1001_1002').length, 1);
});

test('signing out forgets the session here and there', async () => {
  const { online, server, clock, alice } = world();
  const { client, seen } = await online('alice');
  const out = await outcome(clock, client.signOut());
  assert.deepEqual(out, [client.device.id]);
  assert.deepEqual([client.state, client.user, client.signedIn], ['offline', null, false]);
  await clock.advance(60_000);
  assert.deepEqual([server.opened, server.sessions(alice.user_id).length], [1, 0]);
  assert.deepEqual(seen.states.map(({ state }) => state).filter((state) => state === 'ended'), []);
});

test('signing out while offline forgets, and says that the server was not told', async () => {
  const { online, clock } = world();
  const { client } = await online('alice');
  client.close();
  await assert.rejects(outcome(clock, client.signOut()), { name: 'Unanswered' });
  assert.equal(client.signedIn, false);
});

test('signing out others keeps this session', async () => {
  const { online, server, clock, alice } = world();
  const { client } = await online('alice');
  server.meddle = ({ action }) => (action === Action.SIGN_OUT ? { device_ids: ['x'] } : undefined);
  assert.deepEqual(await outcome(clock, client.signOut({ scope: SignOutScope.OTHERS })), ['x']);
  assert.deepEqual([client.state, server.sessions(alice.user_id).length], ['online', 1]);
});

test('queries and actions of one\'s own', async () => {
  const { online, server, clock, alice, bob } = world();
  const { client, seen } = await online('alice');
  server.commit(alice.user_id, bob.user_id, 'one');
  assert.equal((await outcome(clock, client.findUser({ account: 'bob' }))).user_id, bob.user_id);
  await assert.rejects(outcome(clock, client.findUser({ account: 'nobody' })), { code: Code.NOT_FOUND, field: 'account' });
  assert.equal((await outcome(clock, client.history('c_1001_1002'))).messages[0].text, 'one');
  assert.equal((await outcome(clock, client.devices())).length, 1);
  await assert.rejects(outcome(clock, client.request(200, { a: 1 })), { codeName: 'UNKNOWN_ACTION' });
  await assert.rejects(outcome(clock, client.action(200, { a: 1 })), { codeName: 'UNKNOWN_ACTION' });
  await assert.rejects(client.action('lua.poll.vote'), TypeError);
  server.push(server.sessions(alice.user_id)[0], 201, { b: 2 });
  await clock.until(() => seen.pushes.length === 1);
  assert.deepEqual(seen.pushes, [{ action: 201, body: { b: 2 } }]);
  client.close();
  await assert.rejects(client.request(200), { name: 'Unanswered' });
});

test('a storage that is full is a fault, and nothing else', async () => {
  const { online, server, clock, alice, bob } = world();
  const storage = { load: () => null, save: () => { throw new Error('full'); } };
  const { seen } = await online('bob', { storage });
  server.commit(alice.user_id, bob.user_id, 'hi');
  await clock.until(() => seen.texts.length === 1);
  assert.equal(seen.faults[0].message, 'full');
});
