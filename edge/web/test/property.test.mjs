import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Action, Client, Code, memoryStorage } from '../freeim.js';
import { FakeClock, FakeServer, listen, seeded } from './fake.mjs';

const PEOPLE = ['alice', 'bob', 'carol'];
const STEPS = 150;

/** One page that a person has open; a reload makes another client on the same storage. */
class Page {
  shown = []; // messages, in the order the listeners got them
  outs = [];

  constructor(world, account) {
    Object.assign(this, { world, account, storage: memoryStorage() });
    this.open();
    this.client.signIn({ account, password: 'password' });
  }

  open() {
    const { clock, server, random } = this.world;
    this.client = new Client({ url: 'ws://x/ws', clock, random, WebSocket: server.WebSocket, storage: this.storage });
    this.client.addEventListener('message', ({ detail }) => this.shown.push(detail));
    this.client.addEventListener('outgoing', ({ detail }) => this.world.moves.push([detail, detail.state]));
    this.seen = listen(this.client);
  }

  reload() {
    this.client.close();
    this.open();
    this.outs.push(...this.client.queued);
    this.client.connect().catch(() => {});
  }
}

/** A network that loses, repeats, delays and cuts at random. */
function harm(server, random) {
  server.fate = () => (random() < 0.25 ? ['drop', 'twice', 'late'][Math.floor(random() * 3)] : undefined);
  server.meddle = ({ action }) => {
    if (action === Action.MESSAGE && random() < 0.1) return random() < 0.5 ? 'drop' : { code: Code.UNAVAILABLE, retry_after_ms: 50 };
    if (action === Action.SYNC && random() < 0.1) return random() < 0.5 ? 'drop' : { code: Code.UNAVAILABLE, retry_after_ms: 50 };
    return undefined;
  };
}

async function run(seed) {
  const random = seeded(seed);
  const clock = new FakeClock();
  const server = new FakeServer(clock);
  const people = PEOPLE.map((name) => server.account(name).user_id);
  const world = { clock, server, random, moves: [] };
  const pages = [...PEOPLE, 'bob'].map((name) => new Page(world, name)); // bob has two devices
  await clock.until(() => pages.every(({ client }) => client.state === 'online'));
  harm(server, random);
  let sent = 0;
  for (let step = 0; step < STEPS; step++) {
    const page = pages[Math.floor(random() * pages.length)];
    const dice = random();
    if (dice < 0.6 && page.client.signedIn) page.outs.push(page.client.send(people[Math.floor(random() * people.length)], `t${sent++}`));
    else if (dice < 0.7) [...server.sockets][Math.floor(random() * server.sockets.size)]?.cut();
    else if (dice < 0.75) [...server.sockets][0]?.quit({ reason: 4000, reconnect: true, retry_after_ms: 20, jitter_ms: 50 });
    else if (dice < 0.8) [...server.sockets][0]?.raw(new Uint8Array(7).buffer);
    else if (dice < 0.83) page.reload();
    else await clock.advance(Math.floor(random() * 400));
  }
  server.fate = server.meddle = () => undefined;
  server.cutAll(); // the last sync finds what was lost at the very end
  const quiet = ({ client }) => client.state === 'online' && client.queued.length === 0;
  await clock.until(() => pages.every(quiet));
  await clock.advance(60_000);
  return { server, pages, people, sent, moves: world.moves };
}

test('whatever is cut, lost, repeated or overtaken: each message once, in order', async (t) => {
  for (let seed = 1; seed <= 40; seed++) {
    await t.test(`seed ${seed}`, async () => {
      const { server, pages, people, sent, moves } = await run(seed);
      const logs = [...server.logs.values()].flat();
      assert.equal(logs.length, sent, 'every send was committed');
      assert.equal(new Set(logs.map(({ text }) => text)).size, sent, 'once');
      for (const page of pages) {
        const inbox = server.inboxes.get(people[PEOPLE.indexOf(page.account)]);
        assert.deepEqual(page.shown.map(({ inboxSeq }) => inboxSeq), inbox.map(({ inbox_seq }) => inbox_seq), `${page.account}: dense`);
        assert.deepEqual(page.shown.map(({ message }) => message.id), inbox.map(({ message }) => message.id), `${page.account}: in order`);
        assert.deepEqual(page.seen.resets, [], 'nothing was forgotten');
      }
      const ranks = new Map();
      for (const [out, state] of moves) {
        const rank = ['queued', 'committed', 'delivered', 'refused'].indexOf(state);
        assert.ok(rank > (ranks.get(out) ?? 0) && rank < 3, `${out.text} became ${state}`);
        ranks.set(out, rank);
      }
    });
  }
});
