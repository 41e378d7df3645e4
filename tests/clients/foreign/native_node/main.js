'use strict';
// What a RocketMQ tutorial does, with ali-ons: each scenario prints one line, "ok NAME" or "failed NAME: why".
// Argument: the name server's address. The topics node-NAME must be there.
const { Consumer, Message, Producer } = require('ali-ons');

const PATIENCE_MS = 90000;
const quiet = { debug() {}, info() {}, warn() {}, error() {} };
const common = { nameSrv: process.argv[2], logger: quiet, httpclient: { request() { throw new Error('no HTTP'); } } };

function producer(name) {
  const made = new Producer({ ...common, producerGroup: `${name}-producers`, instanceName: `${name}-p` });
  made.on('error', (error) => console.log(`failed ${name}: ${error}`));
  return made.ready().then(() => made);
}

function message(topic, tag, body) {
  const made = new Message(topic, tag, body);
  made.keys = ['k', tag];
  return made;
}

// What the listener was given until there are `count` of it.
async function consumed(name, expression, count, listener = () => undefined, options = {}) {
  const got = [];
  const consumer = new Consumer({
    ...common, ...options, consumerGroup: `${name}-consumers`, instanceName: `${name}-c`, consumeFromWhere: 'CONSUME_FROM_FIRST_OFFSET',
  });
  consumer.on('error', (error) => console.log(`failed ${name}: ${error}`));
  const enough = new Promise((resolve, reject) => {
    setTimeout(() => reject(new Error(`got ${JSON.stringify(got)}`)), PATIENCE_MS).unref();
    consumer.subscribe(`node-${name}`, expression, async (each) => {
      const again = listener(each);
      if (again === undefined) got.push(each.body.toString());
      if (got.length >= count) setImmediate(resolve);
      return again;
    });
  });
  await consumer.ready();
  await enough;
  return got.sort();
}

function same(got, wanted) {
  if (JSON.stringify(got) !== JSON.stringify(wanted)) throw new Error(`got ${JSON.stringify(got)}`);
}

const scenarios = {
  async send(name) {
    const sender = await producer(name);
    const results = [];
    for (const body of ['one', 'two', 'x'.repeat(20000)]) results.push(await sender.send(message(`node-${name}`, 'a', body)));
    same(results.map((each) => each.sendStatus), ['SEND_OK', 'SEND_OK', 'SEND_OK']);
    same(await consumed(name, '*', 3), ['one', 'two', 'x'.repeat(20000)]);
  },
  async tags(name) {
    const sender = await producer(name);
    for (const tag of ['a', 'b', 'c']) await sender.send(message(`node-${name}`, tag, tag));
    same(await consumed(name, 'a || c', 2), ['a', 'c']);
  },
  async retry(name) {
    await (await producer(name)).send(message(`node-${name}`, 'a', 'again'));
    const times = [];
    const got = await consumed(name, '*', 1, (each) => {
      times.push(each.reconsumeTimes);
      return each.reconsumeTimes === 0 ? Consumer.ACTION_RETRY : undefined;
    });
    same([got, times], [['again'], [0, 1]]);
  },
  async broadcast(name) {
    await (await producer(name)).send(message(`node-${name}`, 'a', 'to all'));
    same(await consumed(name, '*', 1, undefined, { isBroadcast: true }), ['to all']);
  },
};

async function main() {
  await Promise.all(Object.entries(scenarios).map(async ([name, run]) => {
    try {
      await run(name);
      console.log(`ok ${name}`);
    } catch (error) {
      console.log(`failed ${name}: ${error.stack}`);
    }
  }));
  process.exit(0);
}

main();
