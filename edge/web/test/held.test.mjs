import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Action, Client, Code, HeldState, chatId } from '../freeim.js';
import { Chats } from '../model.js';
import { FakeClock, FakeServer, listen } from './fake.mjs';

/** Alice online at a server that has each of her messages wait for a decision. */
async function alice() {
  const clock = new FakeClock();
  const server = new FakeServer(clock);
  server.account('alice');
  const bob = server.account('bob').user_id;
  const held = new Map(); // client_id -> the Held
  const pages = []; // the requests for them
  server.meddle = ({ action, body }, socket) => {
    if (action === Action.HELD) {
      pages.push(body);
      const rest = [...held.values()].filter(({ held_id }) => held_id > body.after_held_id);
      return { held: rest.slice(0, 2), has_more: rest.length > 2 };
    }
    if (action !== Action.MESSAGE || !socket.session) return undefined;
    const one = held.get(body.client_id) ??
      { held_id: `H${held.size}`, client_id: body.client_id, conversation_id: chatId(1001, bob), time_ms: clock.now(), text: body.text };
    const duplicate = held.has(body.client_id);
    held.set(body.client_id, one);
    return { held_id: one.held_id, conversation_id: one.conversation_id, time_ms: one.time_ms, duplicate };
  };
  const tell = (body) => server.sessions(1001).forEach((socket) => server.push(socket, Action.HELD, body));
  const approve = ({ clientId, text }) => {
    const { id, seq } = server.commit(1001, bob, text, clientId);
    tell({ ...held.get(clientId), state: HeldState.APPROVED, message_id: id, seq });
    held.delete(clientId);
  };
  const deny = ({ clientId }, reason) => {
    held.set(clientId, { ...held.get(clientId), state: HeldState.DENIED, reason });
    tell(held.get(clientId));
  };
  const client = new Client({ url: 'ws://x/ws', clock, WebSocket: server.WebSocket, random: () => 0.5 });
  const [seen, told] = [listen(client), []];
  client.addEventListener('held', ({ detail }) => told.push(`${detail.client_id} ${detail.state} ${detail.reason}`));
  client.signIn({ account: 'alice', password: 'password' });
  await clock.until(() => seen.synced > 0);
  return { clock, server, bob, client, seen, held, pages, told, approve, deny };
}

test('a held message is no more queued, and is committed when it is approved', async () => {
  const { clock, bob, client, seen, told, approve } = await alice();
  const outs = [client.send(bob, 'one'), client.send(bob, 'two')];
  await clock.until(() => outs.every(({ state }) => state === 'held'));
  assert.deepEqual([client.queued, outs[0].message, outs[0].attempts], [[], null, 1]);
  outs.forEach(approve);
  await clock.until(() => outs.every(({ state }) => state === 'committed'));
  assert.equal((await outs[0].committed).text, 'one');
  assert.deepEqual(seen.texts, ['one', 'two']);
  assert.equal(seen.messages[0].outgoing, outs[0]);
  assert.deepEqual(told, outs.map(({ clientId }) => `${clientId} 1 `));
});

test('a held message that is denied is refused, with the reason', async () => {
  const { clock, bob, client, told, deny } = await alice();
  const out = client.send(bob, 'buy');
  await clock.until(() => out.state === 'held');
  deny(out, 'no ads');
  await clock.until(() => out.state === 'refused');
  assert.deepEqual([out.error.code, out.error.message], [Code.REJECTED, 'no ads']);
  await assert.rejects(out.committed, { name: 'Refusal', code: Code.REJECTED });
  assert.deepEqual(told, [`${out.clientId} 2 no ads`]);
});

for (const [name, decide, state] of [['denied', 'deny', 'refused'], ['approved', 'approve', 'committed']]) {
  test(`a message may be ${name} before the answer says that it is held`, async () => {
    const { clock, server, bob, client, ...with_ } = await alice();
    const hold = server.meddle;
    server.meddle = (frame, socket) => {
      const answer = hold(frame, socket);
      if (frame.action === Action.MESSAGE) with_[decide]({ clientId: frame.body.client_id, text: frame.body.text }, 'no');
      return answer;
    };
    const out = client.send(bob, 'fast');
    await clock.until(() => out.state === state);
    await clock.advance(1000);
    assert.deepEqual([out.state, client.queued], [state, []]);
  });
}

test('what was decided without a connection is known after the next one', async () => {
  const { clock, server, bob, client, pages, approve, deny } = await alice();
  const outs = ['one', 'two', 'three', 'four'].map((text) => client.send(bob, text));
  await clock.until(() => outs.every(({ state }) => state === 'held'));
  server.down = true;
  server.cutAll();
  deny(outs[2], 'no');
  approve(outs[3]);
  server.down = false;
  await clock.until(() => outs[2].state === 'refused' && outs[3].state === 'committed');
  assert.deepEqual(outs.slice(0, 2).map(({ state }) => state), ['held', 'held']);
  assert.deepEqual(pages.map(({ after_held_id }) => after_held_id), ['', 'H1']);
});

test('who signs out learns that what waits is not his any more', async () => {
  const { clock, bob, client } = await alice();
  const out = client.send(bob, 'one');
  await clock.until(() => out.state === 'held');
  const refused = assert.rejects(out.committed, /signed out/);
  const done = client.signOut();
  await clock.advance(1000);
  await Promise.all([done, refused]);
  assert.equal(out.state, 'refused');
});

test('the list has every field', async () => {
  const { clock, bob, client } = await alice();
  const out = client.send(bob, 'one');
  await clock.until(() => out.state === 'held');
  const list = client.held();
  await clock.advance(100);
  const { held, has_more: hasMore } = await list;
  assert.deepEqual([held.length, hasMore, held[0].state, held[0].reason, held[0].text], [1, false, HeldState.WAITING, '', 'one']);
});

test('the demo shows what waits last, and what became of it', () => {
  const chats = new Chats({ me: 1001 });
  const [mine, id] = [{ sender_id: 1001, conversation_id: 'c_1001_1002', time_ms: 1 }, 'c_1001_1002'];
  const held = (clientId, state = HeldState.WAITING) => ({ client_id: clientId, conversation_id: id, text: clientId, time_ms: 1, state, reason: '' });
  chats.takeHeld(held('elsewhere'));
  chats.takeHeld(held('long gone', HeldState.DENIED));
  chats.takeOutgoing({ clientId: 'here', to: 1002, text: 'here', state: 'held', message: null });
  chats.take({ message: { ...mine, id: 'M1', seq: 1, client_id: 'other', text: 'other' }, own: true }, () => true);
  const shown = () => chats.get(id).items.map(({ text, state }) => `${text} ${state}`);
  assert.deepEqual(shown(), ['other committed', 'elsewhere held', 'here held']);
  chats.takeHeld(held('elsewhere', HeldState.DENIED));
  chats.take({ message: { ...mine, id: 'M2', seq: 2, client_id: 'here', text: 'here' }, own: true }, () => true);
  chats.takeHeld(held('here', HeldState.APPROVED));
  assert.deepEqual(shown(), ['other committed', 'elsewhere refused', 'here committed']);
  assert.equal(chats.get(id).items[1].reason, 'Not approved.');
});
