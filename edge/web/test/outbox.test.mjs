import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Action, Client, Code, chatId, memoryStorage } from '../freeim.js';
import { FakeClock, FakeServer, listen, seeded } from './fake.mjs';

/** Alice online, bob's user ID, and what arrived at the server as sends. */
async function alice(options = {}) {
  const clock = new FakeClock();
  const server = new FakeServer(clock);
  server.account('alice');
  const bob = server.account('bob').user_id;
  const client = new Client({ url: 'ws://x/ws', clock, WebSocket: server.WebSocket, random: () => 0.5, ...options });
  const seen = listen(client);
  client.signIn({ account: 'alice', password: 'password' });
  await clock.until(() => seen.synced > 0);
  const sends = () => server.requests.filter(({ action }) => action === Action.MESSAGE).map(({ body }) => body);
  const committed = () => (server.logs.get('c_1001_1002') ?? []).map(({ text }) => text);
  return { clock, server, bob, client, seen, sends, committed };
}

/** Lets the server answer the first `times` sends with `reply`. */
function meddle(server, times, reply) {
  server.meddle = ({ action }) => (action === Action.MESSAGE && times-- > 0 ? reply : undefined);
}

/** Commits the first send, and loses the answer. */
function loseFirstAnswer(server) {
  const take = server.take.bind(server);
  let lost = 0;
  server.take = (socket, frame) => {
    const { say } = socket;
    if (frame.action === Action.MESSAGE && lost++ === 0) socket.say = () => {};
    take(socket, frame);
    socket.say = say;
  };
}

test('a send without an answer is sent again, unchanged, and committed once', async () => {
  const { clock, server, bob, client, sends, committed } = await alice();
  loseFirstAnswer(server);
  const out = client.send(bob, 'once');
  await clock.advance(5000);
  server.push(server.sessions(1001)[0], 201, {}); // the connection lives
  await clock.until(() => out.state === 'committed');
  assert.deepEqual([out.attempts, server.opened], [2, 1]);
  assert.deepEqual(sends()[0], sends()[1]);
  assert.deepEqual(committed(), ['once']);
});

test('a connection without any answer is given up, and the send made over the next', async () => {
  const { clock, server, bob, client, committed } = await alice();
  server.meddle = () => 'drop';
  const out = client.send(bob, 'once');
  await clock.until(() => client.state === 'waiting');
  server.meddle = () => undefined;
  await clock.until(() => out.state === 'committed');
  assert.equal(server.opened, 2);
  assert.deepEqual(committed(), ['once']);
});

test('what is queued while offline goes out in order, over the next connection', async () => {
  const { clock, server, bob, client, committed, seen } = await alice();
  server.down = true;
  server.cutAll();
  const outs = ['one', 'two', 'three'].map((text) => client.send(bob, text));
  await clock.advance(20_000);
  assert.deepEqual(outs.map(({ state }) => state), ['queued', 'queued', 'queued']);
  server.down = false;
  await clock.until(() => outs.every(({ state }) => state === 'committed'));
  assert.deepEqual(committed(), ['one', 'two', 'three']);
  assert.deepEqual(seen.texts, ['one', 'two', 'three']);
});

test('a message that was committed before the cut is not shown twice', async () => {
  const { clock, server, bob, client, committed, seen } = await alice();
  meddle(server, 1, 'drop');
  const out = client.send(bob, 'in doubt');
  await clock.advance(20);
  server.commit(1001, bob, 'in doubt', out.clientId, server.sessions(1001)[0]); // it happened, nobody was told
  server.cutAll();
  server.meddle = ({ action }) => (action === Action.MESSAGE ? 'drop' : undefined); // only the sync tells
  await clock.until(() => out.state === 'committed');
  assert.deepEqual([committed(), seen.texts], [['in doubt'], ['in doubt']]);
  assert.equal(seen.messages[0].outgoing, out);
  assert.deepEqual(client.queued, []);
});

test('a final no refuses, with code and reason', async () => {
  const { clock, server, bob, client, committed } = await alice();
  meddle(server, 1, { code: Code.REJECTED, message: 'no ads' });
  const outs = [client.send(bob, 'buy now'), client.send(bob, 'sorry')];
  await clock.until(() => outs[1].state === 'committed');
  assert.deepEqual([outs[0].state, outs[0].error.codeName, outs[0].error.message], ['refused', 'REJECTED', 'no ads']);
  await assert.rejects(outs[0].committed, { name: 'Refusal', code: Code.REJECTED });
  assert.deepEqual(committed(), ['sorry']);
});

for (const code of ['UNAVAILABLE', 'RATE_LIMITED', 'DEADLINE_EXCEEDED', 'INTERNAL']) {
  test(`${code} is tried again, and later messages wait for it`, async () => {
    const { clock, server, bob, client, committed } = await alice();
    meddle(server, 2, { code: Code[code], retry_after_ms: 300 });
    const outs = [client.send(bob, 'first'), client.send(bob, 'second')];
    await clock.until(() => outs[1].state === 'committed');
    assert.deepEqual(committed(), ['first', 'second']);
    assert.equal(outs[0].attempts, 3);
  });
}

test('INTERNAL again and again is a no', async () => {
  const { clock, server, bob, client } = await alice();
  meddle(server, Infinity, { code: Code.INTERNAL });
  const out = client.send(bob, 'poison');
  await clock.until(() => out.state === 'refused');
  assert.equal(out.attempts, 5);
});

test('UNAUTHENTICATED ends the session, the message stays queued', async () => {
  const { clock, server, bob, client, seen } = await alice();
  meddle(server, 1, { code: Code.UNAUTHENTICATED });
  const out = client.send(bob, 'later');
  await clock.until(() => client.state === 'ended');
  assert.equal(seen.states.at(-1).error.code, Code.UNAUTHENTICATED);
  assert.equal(out.state, 'queued');
  client.signIn({ account: 'alice', password: 'password' });
  await clock.until(() => out.state === 'committed');
});

test('a rewritten text is what everybody sees', async () => {
  const { clock, server, bob, client, seen } = await alice();
  server.rewrite = (text) => text.replaceAll('buy', 'look');
  const out = client.send(bob, 'buy now');
  await clock.until(() => out.state === 'committed');
  assert.deepEqual([out.text, out.message.text, out.rewritten], ['buy now', 'look now', true]);
  assert.deepEqual(seen.texts, ['look now']);
});

test('a body over the limit is refused here: the server would close the session', async () => {
  const { clock, bob, client } = await alice();
  const out = client.send(bob, 'x'.repeat(70_000));
  await clock.until(() => out.state === 'refused');
  assert.equal(out.error.code, Code.TOO_LARGE);
  assert.equal(client.state, 'online');
});

test('at most 8 sends are without an answer, one of a conversation', async () => {
  const { clock, server, client, sends } = await alice();
  const people = Array.from({ length: 12 }, (_, i) => server.account(`p${i}`).user_id);
  server.meddle = ({ action }) => (action === Action.MESSAGE ? 'drop' : undefined);
  for (const person of people) for (const text of ['a', 'b']) client.send(person, text);
  await clock.advance(1000);
  assert.deepEqual(sends().map(({ to_user_id, text }) => [to_user_id, text]), people.slice(0, 8).map((id) => [id, 'a']));
  server.meddle = () => undefined;
  await clock.until(() => client.queued.length === 0);
});

test('the queue is bounded, and a client_id is not queued twice', async () => {
  const { server, bob, client } = await alice({ maxQueued: 2 });
  server.down = true;
  server.cutAll();
  client.send(bob, 'a', { clientId: 'c1' });
  assert.throws(() => client.send(bob, 'a', { clientId: 'c1' }), RangeError);
  client.send(bob, 'b');
  assert.throws(() => client.send(bob, 'c'), RangeError);
});

test('what is queued survives the page', async () => {
  const storage = memoryStorage();
  const first = await alice({ storage });
  first.server.down = true;
  first.server.cutAll();
  const { clientId } = first.client.send(first.bob, 'from the last page');
  first.client.close();
  first.server.down = false;
  const { clock, server } = first;
  const second = new Client({ url: 'ws://x/ws', clock, WebSocket: server.WebSocket, storage });
  const [out] = second.queued;
  assert.deepEqual([out.clientId, out.text, out.state], [clientId, 'from the last page', 'queued']);
  second.connect();
  await clock.until(() => out.state === 'committed');
  assert.deepEqual(first.committed(), ['from the last page']);
});

test('nobody can send without a session', () => {
  const client = new Client({ url: 'ws://x/ws', WebSocket: class {} });
  assert.throws(() => client.send(1, 'hi'), { name: 'Refusal', code: Code.UNAUTHENTICATED });
});

test('between the Close frame and the end of the connection nothing is tried, and the next one sends it', async () => {
  const { clock, server, bob, client, committed } = await alice();
  const [socket] = server.sessions(1001);
  let looks = 0;
  Object.defineProperty(socket, 'readyState', {
    get: () => { // a storm of tries never lets a timer run: only this can end it
      if (looks++ > 1000) throw new Error('the socket is asked without end');
      return 2;
    },
  });
  const out = client.send(bob, 'between');
  const found = assert.rejects(client.findUser({ account: 'bob' }), { name: 'Unanswered' });
  await clock.advance(1000);
  assert.deepEqual([out.state, client.state], ['queued', 'online']);
  assert.ok(looks < 10, `the socket was asked ${looks} times`);
  Object.defineProperty(socket, 'readyState', { value: 1, writable: true });
  socket.hangUp(1001);
  await found;
  await clock.until(() => out.state === 'committed');
  assert.deepEqual([committed(), server.opened], [['between'], 2]);
});

test('a person, and the conversation with him, are one destination', async () => {
  const { clock, server, bob, client, committed } = await alice();
  meddle(server, 2, { code: Code.RATE_LIMITED, retry_after_ms: 300 });
  const outs = [client.send(bob, 'one'), client.send('c_1001_1002', 'two'), client.send(bob, 'three')];
  await clock.until(() => outs.every(({ state }) => state === 'committed'));
  assert.deepEqual(committed(), ['one', 'two', 'three']);
});

test('whatever becomes of them, messages to each of many are committed in their order', async () => {
  for (let seed = 1; seed <= 20; seed++) {
    const random = seeded(seed);
    const { clock, server, client } = await alice({ timeoutMs: 500 });
    const people = Array.from({ length: 10 }, (_, i) => server.account(`p${i}`).user_id);
    server.meddle = ({ action }) => {
      if (action !== Action.MESSAGE || random() > 0.2) return undefined;
      if (random() < 0.3) server.cutAll();
      return random() < 0.5 ? 'drop' : { code: Code.RATE_LIMITED, retry_after_ms: Math.floor(random() * 2000) };
    };
    const outs = Array.from({ length: 100 }, (_, i) => client.send(people[Math.floor(random() * 10)], `${i}`));
    await clock.until(() => outs.every(({ state }) => state === 'committed'));
    for (const person of people) {
      const texts = server.logs.get(chatId(1001, person))?.map(({ text }) => text) ?? [];
      assert.deepEqual(texts, outs.filter(({ to }) => to === person).map(({ text }) => text), `seed ${seed}`);
    }
  }
});
