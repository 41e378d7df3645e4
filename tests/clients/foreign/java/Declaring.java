import static java.util.Map.of;

import com.rabbitmq.client.AMQP;
import com.rabbitmq.client.AMQP.BasicProperties;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.Delivery;
import com.rabbitmq.client.ShutdownSignalException;
import java.io.IOException;
import java.util.List;
import java.util.Map;
import java.util.concurrent.BlockingQueue;

/** Exchanges, queues, bindings, and what the broker says when they may not be. */
final class Declaring {
    interface Method {
        void on(Channel channel) throws IOException;
    }

    private Declaring() {}

    static void declares(Connection connection, Channel channel) throws Exception {
        String given = Checks.ownQueue(channel);
        Checks.check(given.startsWith("amq.gen-"), given);
        String prefix = "t-" + given.substring(4) + ".";
        for (String kind : List.of("direct", "fanout", "topic", "headers")) {
            for (boolean durable : new boolean[] {true, false}) {
                String name = prefix + kind;
                channel.exchangeDeclare(name, kind, durable, false, null);
                channel.exchangeDeclareNoWait(name, kind, durable, false, false, null);
                channel.exchangeDeclarePassive(name);
                channel.exchangeDelete(name, true);
            }
        }
        Map<String, Object> arguments = of("x-message-ttl", 60_000, "x-expires", 600_000L, "x-unknown", "kept");
        boolean[][] kinds = {{true, false, false}, {false, true, false}, {false, false, true}, {true, true, false}};
        for (boolean[] kind : kinds) { // durable, exclusive, auto-delete
            String name = prefix + "queue";
            AMQP.Queue.DeclareOk made = channel.queueDeclare(name, kind[0], kind[1], kind[2], arguments);
            Checks.equal(List.of(name, 0, 0), List.of(made.getQueue(), made.getMessageCount(), made.getConsumerCount()));
            Checks.publish(channel, "", name, "x");
            Checks.equal(1, Checks.ready(channel, name));
            Checks.equal(1, channel.queuePurge(name).getMessageCount());
            Checks.equal(0, channel.queueDelete(name, true, true).getMessageCount());
        }
    }

    /** The broker's channel.close in answer to a method, on a channel of its own. */
    static AMQP.Channel.Close refusal(Connection connection, Method method) throws Exception {
        Channel channel = connection.createChannel();
        try {
            method.on(channel);
        } catch (IOException refused) {
            return (AMQP.Channel.Close) ((ShutdownSignalException) refused.getCause()).getReason();
        }
        throw new AssertionError("expected a refusal");
    }

    static void channelErrors(Connection connection, Channel channel) throws Exception {
        String queue = Checks.ownQueue(channel);
        AMQP.Channel.Close missing = refusal(connection, other -> other.queueDeclarePassive(queue + "-none"));
        Checks.equal(404, missing.getReplyCode());
        Checks.equal("NOT_FOUND - no queue '" + queue + "-none' in vhost '/'", missing.getReplyText());
        AMQP.Channel.Close unequal = refusal(connection, other -> other.queueDeclare(queue, false, true, true, null));
        Checks.equal(406, unequal.getReplyCode());
        String text = "PRECONDITION_FAILED - inequivalent arg 'auto_delete' for queue '" + queue
                + "' in vhost '/': received 'true' but current is 'false'";
        Checks.equal(text, unequal.getReplyText());
        Checks.equal(403, refusal(connection, other -> other.exchangeDeclare("amq.mine", "direct")).getReplyCode());
        Checks.ready(channel, queue); // the other channels go on
    }

    static void exchangeToExchange(Connection connection, Channel channel) throws Exception {
        String queue = Checks.ownQueue(channel);
        String source = "t-source-" + queue.substring(4), target = "t-target-" + queue.substring(4);
        channel.exchangeDeclare(source, "topic", false, true, null);
        channel.exchangeDeclare(target, "direct", false, true, null);
        channel.exchangeBind(target, source, "a.#");
        channel.queueBind(queue, target, "a.b");
        channel.queueBind(queue, source, "*.b");
        for (String key : List.of("a.b", "a.c", "c.b", "c.c")) {
            Checks.publish(channel, source, key, key);
        }
        BlockingQueue<Delivery> inbox = Checks.subscribe(channel, queue, true, "");
        for (String expected : List.of("a.b", "c.b")) { // a.b once, though two ways lead there
            Checks.equal(expected, Checks.text(Checks.next(inbox, expected)));
        }
        channel.exchangeUnbind(target, source, "a.#");
        channel.queueUnbind(queue, source, "*.b");
        Checks.equal(404, refusal(connection, other -> other.exchangeDeclarePassive(source)).getReplyCode());
    }

    static void headersExchange(Connection connection, Channel channel) throws Exception {
        String all = Checks.ownQueue(channel), any = Checks.ownQueue(channel);
        String exchange = "t-headers-" + all.substring(4);
        channel.exchangeDeclare(exchange, "headers", false, true, null);
        channel.queueBind(all, exchange, "", of("x-match", "all", "a", 1, "b", "two"));
        channel.queueBind(any, exchange, "", of("x-match", "any", "a", 1L, "b", "two"));
        List<Map<String, Object>> published = List.of(
                of("a", 1L, "b", "two", "c", true), of("a", (byte) 1), of("b", "two"), of("a", "1"), of());
        for (Map<String, Object> headers : published) {
            channel.basicPublish(exchange, "", new BasicProperties.Builder().headers(headers).build(), new byte[0]);
        }
        Checks.equal(1, Checks.ready(channel, all));
        Checks.equal(3, Checks.ready(channel, any));
    }
}
