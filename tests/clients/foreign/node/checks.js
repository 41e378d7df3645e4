const PATIENCE_MS = 20_000;

/** The promise's value; silence is a failure. */
export function within(promise, what) {
  let timer;
  const silence = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: nothing came`)), PATIENCE_MS);
  });
  return Promise.race([promise, silence]).finally(() => clearTimeout(timer));
}

/** A queue of what callbacks bring: put() from a callback, await next(). */
export class Inbox {
  #values = [];
  #takers = [];

  put = (value) => {
    const taker = this.#takers.shift();
    if (taker) taker(value);
    else this.#values.push(value);
  };

  next(what) {
    if (this.#values.length) return Promise.resolve(this.#values.shift());
    return within(new Promise((resolve) => this.#takers.push(resolve)), what);
  }

  get empty() {
    return this.#values.length === 0;
  }
}

/** A queue that goes with the connection; the server names it. */
export async function ownQueue(channel) {
  return (await channel.assertQueue("", { exclusive: true })).queue;
}

/** Publishes the bodies "0" to "count-1" to the queue. */
export function numbered(channel, queue, count) {
  for (let i = 0; i < count; i++) channel.sendToQueue(queue, Buffer.from(`${i}`));
}

/** consume() whose deliveries, and null for a cancellation, go into an Inbox. */
export async function subscribe(channel, queue, options) {
  const inbox = new Inbox();
  const { consumerTag } = await channel.consume(queue, inbox.put, options);
  return [inbox, consumerTag];
}
