import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Action, Client, CloseReason, Code, SignOutScope, chatId, memoryStorage, webStorage } from '../freeim.js';
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

for (const [what, wrong] of [['far ahead', 40], ["the next one's", 4]]) {
  test(`an answer with a wrong inbox_seq, ${what}, is let go, and nothing else is lost`, async () => {
    const { online, server, clock, alice, bob } = world();
    const { client, seen } = await online('bob');
    server.fate = (_, { message }) => (message?.text === 'lost' ? 'drop' : undefined);
    server.commit(alice.user_id, bob.user_id, 'lost');
    server.amend = (action, body) => (action === Action.MESSAGE ? { ...body, inbox_seq: wrong } : body);
    client.send(chatId(alice.user_id, bob.user_id), 'mine');
    await clock.until(() => seen.texts.length === 2);
    await clock.advance(20_000);
    const syncs = () => server.requests.filter(({ action }) => action === Action.SYNC).length;
    assert.equal(syncs(), 3); // at Auth, for the gap, and once more for what was let go
    assert.equal(client.cursor, 2);
    for (const text of ['three', 'four', 'five']) server.commit(alice.user_id, bob.user_id, text);
    await clock.advance(20_000);
    assert.deepEqual(seen.texts, ['lost', 'mine', 'three', 'four', 'five']);
    assert.equal(syncs(), 3);
  });
}

test('a push while a sync is on its way is kept', async () => {
  const { online, server, clock, alice, bob } = world();
  const { seen } = await online('bob');
  server.fate = (_, { message }) => (message?.text === 'lost' ? 'drop' : undefined);
  server.commit(alice.user_id, bob.user_id, 'lost');
  server.amend = (action, body) => {
    if (action === Action.SYNC) queueMicrotask(() => server.commit(alice.user_id, bob.user_id, 'meanwhile'));
    server.amend = (_, same) => same;
    return body;
  };
  server.push(server.sessions(bob.user_id)[0], Action.SYNC, {});
  await clock.until(() => seen.texts.length === 2);
  assert.deepEqual(seen.texts, ['lost', 'meanwhile']);
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

test('more receipts than an answer holds come with the answers behind it', async () => {
  const { online, server, clock, alice, bob } = world();
  const a = await online('alice');
  const out = a.client.send(bob.user_id, 'hi');
  await clock.until(() => out.state === 'committed');
  server.down = true;
  server.cutAll();
  await clock.advance(100);
  for (let position = 1; position <= 7; position++) {
    const read = { conversation_id: `c_1_${position + 100}`, user_id: position + 100, seq: 1 };
    server.receipts.push({ position, to: alice.user_id, read });
  }
  const receipt = { conversation_id: out.message.conversation_id, user_id: bob.user_id, seq: out.message.seq };
  server.receipts.push({ position: 8, to: alice.user_id, receipt });
  server.mostReceipts = 3;
  const before = server.requests.length;
  server.down = false;
  await clock.until(() => out.state === 'delivered');
  await clock.advance(1000);
  assert.equal(a.seen.receipts.length, 8);
  const asked = server.requests.slice(before).filter(({ action }) => action === Action.SYNC);
  assert.deepEqual(asked.map(({ body }) => body.receipts_after), [0, 3, 6]);
});

test('a new epoch whose first answer ends where the old cursor was is read on', async () => {
  const { online, server, clock, alice } = world();
  const file = (count) => {
    server.receipts = Array.from({ length: count }, (_, i) => (
      { position: i + 1, to: alice.user_id, receipt: { conversation_id: `c_1_${i + 100}`, user_id: i + 100, seq: 1 } }));
  };
  file(3);
  const { seen } = await online('alice');
  await clock.until(() => seen.receipts.length === 3);
  server.epoch = 'another';
  file(5);
  server.mostReceipts = 3;
  server.push(server.sessions(alice.user_id)[0], Action.SYNC, {});
  await clock.until(() => seen.receipts.length === 3 + 5);
});

test('a server that promises more receipts and gives none is not asked in a circle', async () => {
  const { online, server, clock } = world();
  const { seen } = await online('alice');
  let asked = 0;
  server.meddle = ({ action }) => {
    if (action !== Action.SYNC) return undefined;
    asked++;
    return { head: 0, floor: 1, epoch: server.epoch, more_receipts: true };
  };
  const synced = seen.synced;
  server.cutAll();
  await clock.until(() => seen.synced > synced);
  await clock.advance(1000);
  assert.equal(asked, 1);
});

test('what the other person has read is delivered, acknowledged or not', async () => {
  const { online, server, clock, alice, bob } = world();
  const { client, seen } = await online('alice');
  const heard = [];
  client.addEventListener('read', ({ detail }) => heard.push(detail));
  const out = client.send(bob.user_id, 'hi');
  await clock.until(() => out.state === 'committed');
  const read = (user_id, seq) => ({ conversation_id: out.message.conversation_id, user_id, seq });
  const say = async (body) => {
    server.push(server.sessions(alice.user_id)[0], Action.READ, body);
    await clock.advance(100);
  };
  await say(read(alice.user_id, out.message.seq)); // another device of hers
  assert.equal(out.state, 'committed');
  await say(read(bob.user_id, out.message.seq));
  assert.equal(out.state, 'delivered');
  await say(read(bob.user_id, out.message.seq));
  assert.equal(seen.receipts.length, 1);
  assert.deepEqual(heard.map(({ user_id }) => user_id), [alice.user_id, bob.user_id, bob.user_id]);
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

test('conversations are listed and changed', async () => {
  const { online, server, clock } = world();
  const { client } = await online('alice');
  const asked = [];
  server.meddle = ({ action, body }) => {
    asked.push([action, body]);
    return {
      [Action.LIST_CONVERSATIONS]: { conversations: [{ conversation_id: 'c_1_2', unread: 2, last: { text: 'hi' } }], cursor: 'n5', has_more: true },
      [Action.UPDATE_CONVERSATION]: { conversation: { conversation_id: 'c_1_2', pinned: true } },
    }[action];
  };
  const page = await outcome(clock, client.conversations({ limit: 1 }));
  assert.deepEqual([page.cursor, page.has_more, page.conversations[0].unread, page.conversations[0].last.text, page.conversations[0].draft], ['n5', true, 2, 'hi', '']);
  const changed = await outcome(clock, client.updateConversation('c_1_2', { pinned: true, draft: '' }));
  assert.deepEqual([changed.pinned, changed.last, changed.mute], [true, null, 0]);
  assert.deepEqual(asked.filter(([action]) => action >= 32), [
    [Action.LIST_CONVERSATIONS, { cursor: '', limit: 1, hidden: false }],
    [Action.UPDATE_CONVERSATION, { pinned: true, draft: '', conversation_id: 'c_1_2' }]]);
});

test('reads, typing and settings are sent', async () => {
  const { online, server, clock } = world();
  const { client } = await online('alice');
  const asked = [];
  server.meddle = ({ action, body }) => {
    asked.push([action, body]);
    return { [Action.READ]: { moved: true }, [Action.TYPING]: {}, [Action.CHAT_SETTINGS]: { settings: {} } }[action];
  };
  assert.equal(await outcome(clock, client.markRead('c_1_2', 3)), true);
  await outcome(clock, client.typing(7, { stopped: true }));
  assert.deepEqual(await outcome(clock, client.chatSettings({ read_receipts: false })), { read_receipts: false });
  assert.deepEqual(asked.filter(([action]) => action >= 32), [
    [Action.READ, { conversation_id: 'c_1_2', seq: 3 }], [Action.TYPING, { to_user_id: 7, stopped: true }],
    [Action.CHAT_SETTINGS, { read_receipts: false }]]);
});

test('profiles are read, changed and searched for', async () => {
  const { online, server, clock, alice, bob } = world();
  const { client } = await online('alice');
  const asked = [];
  const answers = {
    [Action.PROFILE]: ({ user_ids: ids = [alice.user_id] }) => ({ profiles: ids.map((id) => ({ user_id: id })) }),
    [Action.UPDATE_PROFILE]: (fields) => ({ profile: { user_id: alice.user_id, ...fields } }),
    [Action.SEARCH_USERS]: ({ query }) => (query === 'nobody' ? {} : { people: [{ user_id: bob.user_id }], cursor: 'c', has_more: true }),
  };
  server.meddle = ({ action, body }) => {
    asked.push([action, body]);
    return answers[action]?.(body);
  };
  assert.equal((await outcome(clock, client.profile())).user_id, alice.user_id);
  assert.deepEqual((await outcome(clock, client.profiles([bob.user_id, 7]))).map(({ user_id }) => user_id), [bob.user_id, 7]);
  assert.deepEqual(await outcome(clock, client.profiles([])), []);
  assert.equal((await outcome(clock, client.updateProfile({ city: '', found_by_handle: false }))).city, '');
  assert.deepEqual(asked.at(-1), [Action.UPDATE_PROFILE, { city: '', found_by_handle: false }]);
  assert.deepEqual(await outcome(clock, client.searchUsers('b', { limit: 1 })), { people: [{ user_id: bob.user_id }], cursor: 'c', has_more: true });
  assert.deepEqual(asked.at(-1), [Action.SEARCH_USERS, { query: 'b', cursor: '', limit: 1 }]);
  assert.deepEqual(await outcome(clock, client.searchUsers('nobody')), { people: [], cursor: '', has_more: false });
});

test('all that is kept is put together, and leaving forgets the session', async () => {
  const { online, server, clock } = world();
  const { client } = await online('alice');
  server.meddle = ({ action, body }) => {
    if (action === Action.DELETE_ACCOUNT) return body.password === 'p' ? { erase_ms: 7 } : { code: Code.BAD_CREDENTIALS };
    if (action !== Action.EXPORT) return undefined;
    if (!body.plugin) return { made_ms: 5, contents: [{ plugin: 'account', parts: 2, octets: 9 }, { plugin: 'chat', parts: 1, octets: 4 }] };
    return { made_ms: body.made_ms, json: body.plugin === 'chat' ? 'null' : ['{"a":', '"b"}'][body.part ?? 0] };
  };
  assert.deepEqual(await outcome(clock, client.exportData()), { account: { a: 'b' }, chat: null });
  await assert.rejects(outcome(clock, client.deleteAccount({ password: 'wrong' })), { code: Code.BAD_CREDENTIALS });
  assert.equal(client.state, 'online');
  assert.equal(await outcome(clock, client.deleteAccount({ password: 'p' })), 7);
  assert.deepEqual([client.state, client.signedIn], ['offline', false]);
});

test('another issuer\'s token signs in', async () => {
  const { online, clock, alice } = world();
  const { client } = await online('alice');
  await outcome(clock, client.signOut());
  await assert.rejects(outcome(clock, client.signInExternal({ token: 'bad' })), { code: Code.BAD_CREDENTIALS, field: 'token' });
  const user = await outcome(clock, client.signInExternal({ token: 'jwt of alice' }));
  assert.deepEqual([user.user_id, client.state], [alice.user_id, 'online']);
});

test('a changed password ends other devices, or this one too', async () => {
  const { online, server, clock } = world();
  const { client } = await online('alice');
  const asked = [];
  server.meddle = ({ action, body }) => {
    if (action !== Action.CHANGE_PASSWORD && action !== Action.SET_PUSH_TOKEN) return undefined;
    asked.push(body);
    return body.password === 'wrong' ? { code: Code.BAD_CREDENTIALS } : { device_ids: ['x'] };
  };
  await assert.rejects(outcome(clock, client.changePassword({ password: 'wrong', newPassword: 'n', all: true })), { code: Code.BAD_CREDENTIALS });
  assert.deepEqual([client.state, client.signedIn], ['online', true]);
  assert.deepEqual(await outcome(clock, client.changePassword({ password: 'o', newPassword: 'n' })), ['x']);
  assert.deepEqual([client.state, asked.at(-1)], ['online', { password: 'o', new_password: 'n', sign_out_all: false }]);
  await outcome(clock, client.setPushToken({ provider: 'webpush', token: 't' }));
  assert.deepEqual(asked.at(-1), { provider: 'webpush', token: 't' });
  await outcome(clock, client.changePassword({ password: 'n', newPassword: 'm', all: true }));
  assert.deepEqual([client.state, client.signedIn], ['offline', false]);
});

test('moments are published, read, liked and commented on', async () => {
  const { online, server, clock, alice, bob } = world();
  const { client } = await online('alice');
  const asked = [];
  const page = { moments: [{ id: 'm', author_id: bob.user_id }], cursor: 'm', has_more: true };
  const answers = {
    [Action.PUBLISH_MOMENT]: () => ({ moment_id: 'm', time_ms: 1 }),
    [Action.DELETE_MOMENT]: () => ({}),
    [Action.SET_MOMENT_VISIBILITY]: ({ visibility }) => ({ moment: { id: 'm', visibility } }),
    [Action.GET_MOMENT]: ({ moment_id: id }) => ({ moment: { id } }),
    [Action.MOMENT_FEED]: () => page,
    [Action.LIST_MOMENTS]: () => ({}),
    [Action.MOMENT_SQUARE]: () => page,
    [Action.LIKE_MOMENT]: () => ({ likes: 3 }),
    [Action.UNLIKE_MOMENT]: () => ({}),
    [Action.COMMENT_MOMENT]: ({ text }) => ({ comment_id: 'c', text }),
    [Action.DELETE_COMMENT]: () => ({}),
    [Action.MOMENT_LIKES]: () => ({ likes: [{ user_id: alice.user_id }] }),
    [Action.MOMENT_COMMENTS]: () => ({}),
  };
  server.meddle = ({ action, body }) => {
    asked.push([action, body]);
    return answers[action]?.(body);
  };
  assert.equal((await outcome(clock, client.publishMoment({ text: 'hi', visibility: 3, user_ids: [7] }, { clientId: 'a' }))).moment_id, 'm');
  assert.deepEqual(asked.at(-1), [Action.PUBLISH_MOMENT, { text: 'hi', visibility: 3, user_ids: [7], client_id: 'a' }]);
  await outcome(clock, client.publishMoment({ text: 'hi' }));
  assert.match(asked.at(-1)[1].client_id, /^[A-Za-z0-9._-]{1,64}$/);
  assert.equal((await outcome(clock, client.setMomentVisibility('m', 2))).visibility, 2);
  assert.equal((await outcome(clock, client.moment('m'))).id, 'm');
  assert.deepEqual(await outcome(clock, client.momentFeed({ limit: 1 })), page);
  assert.deepEqual(await outcome(clock, client.momentsOf(bob.user_id, { cursor: 'm' })), { moments: [], cursor: '', has_more: false });
  assert.deepEqual(asked.at(-1), [Action.LIST_MOMENTS, { user_id: bob.user_id, cursor: 'm', limit: 0 }]);
  assert.deepEqual(await outcome(clock, client.momentSquare()), page);
  assert.equal(await outcome(clock, client.likeMoment('m')), 3);
  assert.equal(await outcome(clock, client.unlikeMoment('m')), 0);
  assert.equal((await outcome(clock, client.commentMoment('m', 'nice', { replyTo: 'c', clientId: 'b' }))).comment_id, 'c');
  assert.deepEqual(asked.at(-1), [Action.COMMENT_MOMENT, { client_id: 'b', moment_id: 'm', text: 'nice', reply_to: 'c' }]);
  assert.equal((await outcome(clock, client.momentLikes('m'))).likes.length, 1);
  assert.deepEqual(await outcome(clock, client.momentComments('m')), { comments: [], cursor: '', has_more: false });
  assert.equal(await outcome(clock, client.deleteComment('c')), undefined);
  assert.equal(await outcome(clock, client.deleteMoment('m')), undefined);
});

test('files are uploaded by HTTP, again if need be', async () => {
  const { online, server, clock } = world();
  const { client } = await online('alice');
  const sent = [];
  const replies = [() => { throw new Error('cut'); }, () => new Response('{"message":"busy"}', { status: 503, headers: { 'Retry-After': '2' } }), () => new Response('{}')];
  const was = globalThis.fetch;
  globalThis.fetch = async (url, { method, headers, body }) => {
    sent.push([method, url, Object.fromEntries(headers), await body.text()]);
    return (replies.length > 1 ? replies.shift() : replies[0])();
  };
  try {
    const asked = [];
    server.meddle = ({ action, body }) => {
      asked.push([action, body]);
      return {
        [Action.UPLOAD_FILE]: () => ({ file_id: 'F', method: 'PUT', url: '/files/F?k=1', headers: [{ name: 'Content-Type', value: body.type }], expires_ms: clock.now() + 3600_000 }),
        [Action.COMMIT_FILE]: () => ({ file: { id: body.file_id } }),
        [Action.FILE_URL]: () => ({ files: [{ file: { id: 'F' }, url: '/files/F?k=2', expires_ms: 1 }] }),
        [Action.LIST_FILES]: () => ({}),
        [Action.DELETE_FILE]: () => ({}),
      }[action]?.();
    };
    const progress = [];
    const file = await outcome(clock, client.upload(new Blob(['hello'], { type: 'text/plain;charset=utf-8' }), { name: 'a.txt', onProgress: (...at) => progress.push(at) }));
    assert.equal(file.id, 'F');
    assert.deepEqual(asked[0], [Action.UPLOAD_FILE, { name: 'a.txt', size: 5, type: 'text/plain', sha256: '2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824' }]);
    assert.deepEqual(asked.at(-1), [Action.COMMIT_FILE, { file_id: 'F' }]);
    assert.equal(sent.length, 3);
    assert.equal(sent[0][0], 'PUT');
    assert.match(sent[0][1], /^http:.*\/files\/F\?k=1$/);
    assert.deepEqual(sent[2].slice(2), [{ 'Content-Type': 'text/plain' }, 'hello']);
    assert.deepEqual(progress, [[5, 5]]);
    replies[0] = () => new Response('{"message":"no room"}', { status: 507 });
    await assert.rejects(outcome(clock, client.upload(new Blob(['x']))), { name: 'UploadError', status: 507, message: 'no room' });
    assert.equal(sent.length, 4);
    assert.match((await outcome(clock, client.fileURLs(['F'])))[0].url, /^http:.*k=2$/);
    assert.deepEqual(await outcome(clock, client.files()), { files: [], cursor: '', has_more: false });
    assert.equal(await outcome(clock, client.deleteFile('F')), undefined);
  } finally {
    globalThis.fetch = was;
  }
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
