import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Action, Client, Code, RoomKind } from '../freeim.js';
import { FakeClock, FakeServer, listen, seeded } from './fake.mjs';

/** A server whose lobby has ten messages, and alice in it, told the last three. */
async function inLobby(options = {}) {
  const clock = new FakeClock();
  const server = new FakeServer(clock);
  server.account('alice');
  say(server, 1, 10);
  const client = new Client({ url: 'ws://x/ws', clock, WebSocket: server.WebSocket, random: () => 0.5, ...options });
  const seen = listen(client);
  client.signIn({ account: 'alice', password: 'password' });
  await clock.until(() => seen.synced > 0);
  const joined = await outcome(clock, client.joinRoom('lobby', { last: 3 }));
  assert.equal(joined.head, 10);
  assert.deepEqual(seen.rooms.splice(0), lines(8, 10));
  return { clock, server, client, seen };
}

async function outcome(clock, promise) {
  let result;
  promise.then((value) => (result = { value }), (error) => (result = { error }));
  await clock.until(() => result);
  if (result.error) throw result.error;
  return result.value;
}

const say = (server, from, to, options) => {
  for (let i = from; i <= to; i++) server.sayInRoom('lobby', `text ${i}`, options);
};
const lines = (from, to) => Array.from({ length: to - from + 1 }, (_, i) => `${from + i} text ${from + i}`);

test('a room: told, skipped, sent, left', async () => {
  const { clock, server, client, seen } = await inLobby();
  say(server, 11, 12);
  say(server, 13, 14, { told: false });
  const sent = await outcome(clock, client.sendRoom('lobby', 'mine'));
  assert.equal(sent.seq, 15);
  await clock.advance(100);
  assert.deepEqual(seen.rooms.splice(0), [...lines(11, 12), 'skip 13-13 1', 'skip 14-14 1', '15 mine']);
  assert.deepEqual(client.rooms, ['lobby']);
  assert.equal(await outcome(clock, client.leaveRoom('lobby')), true);
  say(server, 16, 16);
  await clock.advance(100);
  assert.deepEqual(seen.rooms, []);
  assert.equal(await outcome(clock, client.leaveRoom('lobby')), false);
  await assert.rejects(outcome(clock, client.sendRoom('lobby', 'x')), { name: 'Unanswered' });
});

test('a message that is in no log takes no seq', async () => {
  const { clock, server, seen } = await inLobby();
  server.showInRoom('lobby', 'aside');
  say(server, 11, 12);
  await clock.advance(100);
  assert.deepEqual(seen.rooms, ['0 aside', ...lines(11, 12)]);
});

for (const [name, until, want] of [
  ['one page', 60, lines(11, 60)],
  ['some pages', 360, lines(11, 360)],
  ['too much', 2000, [...lines(11, 1010), 'skip 1011-1900 2', ...lines(1901, 2001)]],
]) {
  test(`a room is caught up with after a cut: ${name}`, async () => {
    const { clock, server, seen } = await inLobby();
    server.cutAll();
    say(server, 11, until);
    await clock.advance(60_000);
    if (until === 2000) say(server, 2001, 2001);
    await clock.advance(100);
    assert.deepEqual(seen.rooms, want);
  });
}

test('joining a room that one is in, while others speak, loses nothing', async () => {
  const { clock, server, client, seen } = await inLobby();
  server.meddle = ({ action }) => {
    if (action === Action.JOIN_ROOM) say(server, 11, 11); // pushed before the answer
    return undefined;
  };
  await outcome(clock, client.joinRoom('lobby', { afterSeq: 10 }));
  await clock.advance(100);
  assert.deepEqual(seen.rooms, lines(11, 11));
});

test('a room that closes, and does not open again', async () => {
  const { clock, server, client, seen } = await inLobby();
  server.closeRoom('lobby');
  await clock.advance(100);
  assert.deepEqual(seen.rooms.splice(0), ['left lobby 3']);
  await assert.rejects(outcome(clock, client.joinRoom('lobby')), { code: Code.NOT_FOUND });
  assert.deepEqual(client.rooms, []);
  assert.deepEqual(seen.rooms, []);
});

test('a room that closes while the client is away', async () => {
  const { clock, server, seen } = await inLobby();
  server.cutAll();
  server.closeRoom('lobby');
  await clock.advance(60_000);
  assert.deepEqual(seen.rooms, ['left lobby 0']);
});

test('through cuts and repetitions every message is told once, every send committed once', async () => {
  for (let seed = 1; seed <= 20; seed++) {
    const random = seeded(seed);
    const { clock, server, client, seen } = await inLobby({ timeoutMs: 500 });
    server.fate = () => (random() < 0.2 ? 'twice' : undefined);
    server.meddle = ({ action }) => {
      if (action < Action.JOIN_ROOM || random() > 0.1) return undefined;
      if (random() < 0.5) server.cutAll();
      return 'drop';
    };
    for (let i = 0; i < 40; i++) await outcome(clock, client.sendRoom('lobby', `mine ${i}`));
    server.meddle = () => undefined;
    await clock.advance(60_000);
    const want = Array.from({ length: 40 }, (_, i) => `${11 + i} mine ${i}`);
    assert.deepEqual(seen.rooms, want, `seed ${seed}`);
    assert.equal(server.room('lobby').log.length, 50);
  }
});

/** Begins all sends at once. */
async function together(clock, client, texts, options) {
  const sent = texts.map((text) => client.sendRoom('lobby', text, options));
  await outcome(clock, Promise.all(sent));
}

test('sends to a room that are begun together are committed in that order', async () => {
  const texts = ['one', 'two', 'three', 'four', 'five', 'six'];
  for (const fate of [{ code: Code.RATE_LIMITED, retry_after_ms: 300 }, { code: Code.INTERNAL }, 'drop', 'cut']) {
    const { clock, server, client } = await inLobby({ timeoutMs: 500 });
    let asked = 0;
    server.meddle = ({ action }) => {
      if (action !== Action.ROOM_MESSAGE || ![1, 4].includes(++asked)) return undefined;
      if (fate !== 'cut') return fate;
      server.cutAll();
      return 'drop';
    };
    await together(clock, client, texts);
    assert.deepEqual(server.room('lobby').log.slice(10).map(({ text }) => text), texts, JSON.stringify(fate));
  }
});

test('a send to a room that is refused, or of another kind, holds up nobody', async () => {
  const { clock, server, client } = await inLobby();
  server.meddle = ({ action, body }) => {
    if (action !== Action.ROOM_MESSAGE) return undefined;
    if (body.text === 'slow') return { code: Code.RATE_LIMITED, retry_after_ms: 600_000 };
    return body.text === 'bad' ? { code: Code.REJECTED } : undefined;
  };
  const bad = client.sendRoom('lobby', 'bad');
  const good = client.sendRoom('lobby', 'good');
  await assert.rejects(outcome(clock, bad), { code: Code.REJECTED });
  await outcome(clock, good);
  client.sendRoom('lobby', 'slow').catch(() => {});
  await outcome(clock, client.sendRoom('lobby', 'a rose', { kind: RoomKind.GIFT }));
  assert.deepEqual(server.room('lobby').log.slice(10).map(({ text }) => text), ['good', 'a rose']);
});
