import com.rabbitmq.client.AMQP.BasicProperties;
import com.rabbitmq.client.AMQP.Queue.DeclareOk;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Delivery;
import java.io.IOException;
import java.util.Objects;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

/** Assertions, and the few calls that most scenarios begin with. */
final class Checks {
    static final int PATIENCE_SECONDS = 20;
    static final BasicProperties NONE = new BasicProperties();

    private Checks() {}

    static void check(boolean holds, Object what) {
        if (!holds) {
            throw new AssertionError(what);
        }
    }

    static void equal(Object expected, Object actual) {
        check(Objects.equals(expected, actual), "expected " + expected + ", got " + actual);
    }

    /** The next value; silence is a failure. */
    static <T> T next(BlockingQueue<T> values, String what) throws InterruptedException {
        T value = values.poll(PATIENCE_SECONDS, TimeUnit.SECONDS);
        check(value != null, what + ": nothing came");
        return value;
    }

    static String text(Delivery delivery) {
        return new String(delivery.getBody());
    }

    /** A queue that goes with the connection; the server names it. */
    static String ownQueue(Channel channel) throws IOException {
        return channel.queueDeclare("", false, true, false, null).getQueue();
    }

    static void publish(Channel channel, String exchange, String key, String body) throws IOException {
        channel.basicPublish(exchange, key, NONE, body.getBytes());
    }

    /** Publishes the bodies "0" to "count-1" to the queue. */
    static void numbered(Channel channel, String queue, int count) throws IOException {
        for (int i = 0; i < count; i++) {
            publish(channel, "", queue, "" + i);
        }
    }

    /** What a new consumer gets, in order; its tag is given. */
    static BlockingQueue<Delivery> subscribe(Channel channel, String queue, boolean autoAck, String tag)
            throws IOException {
        BlockingQueue<Delivery> inbox = new LinkedBlockingQueue<>();
        channel.basicConsume(queue, autoAck, tag, (consumer, delivery) -> inbox.add(delivery), consumer -> {});
        return inbox;
    }

    static int ready(Channel channel, String queue) throws IOException {
        DeclareOk state = channel.queueDeclarePassive(queue);
        return state.getMessageCount();
    }
}
