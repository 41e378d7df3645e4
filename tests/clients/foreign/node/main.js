// What a program on amqplib relies on, against a running broker.
//
//   node main.js URL          every scenario: a line "ok NAME" or "FAIL NAME: why" each; exit code 1 if any failed
//   node main.js URL recover  prints "connected", reconnects when the broker is back, prints "recovered"
import amqp from "amqplib";

import * as declaring from "./declaring.js";
import * as messages from "./messages.js";
import { recoverFromRestart } from "./recovery.js";

const SCENARIOS = {
  "declares every kind of exchange and queue": declaring.declares,
  "is told 404 and 406 on the channel only": declaring.channelErrors,
  "routes over bindings between exchanges": declaring.exchangeToExchange,
  "routes by headers": declaring.headersExchange,
  "gets every publish confirmed": messages.confirms,
  "gets what has no route back, before its confirm": messages.mandatory,
  "holds to its prefetch": messages.prefetch,
  "requeues to the original place": messages.requeue,
  "gets single messages": messages.gets,
  "gets every type of header back": messages.headerTypes,
  "gets every property back": messages.properties,
  "hears of a consumer's cancellation": messages.cancelNotice,
  "moves a message of many frames": messages.bigMessage,
  "uses many channels at once": messages.manyChannels,
};

async function outcome(url, run) {
  const connection = await amqp.connect(url);
  connection.on("error", () => {}); // what was awaited fails by itself
  try {
    await run(connection, await connection.createChannel());
    return null;
  } catch (error) {
    return error.stack ?? error;
  } finally {
    await connection.close();
  }
}

const [url, mode] = process.argv.slice(2);
if (mode === "recover") {
  await recoverFromRestart(url);
} else {
  for (const [name, run] of Object.entries(SCENARIOS)) {
    const why = await outcome(url, run);
    if (why) process.exitCode = 1;
    console.log(why ? `FAIL ${name}: ${why}` : `ok ${name}`);
  }
}
