import com.rabbitmq.client.AMQP.BasicProperties;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.Delivery;
import com.rabbitmq.client.GetResponse;
import com.rabbitmq.client.LongString;
import java.math.BigDecimal;
import java.util.Arrays;
import java.util.Date;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.stream.Collectors;

/** Bodies, properties and headers come back as they went. */
final class Contents {
    private Contents() {}

    /** A value as it was sent: text instead of LongString, in tables and arrays as well; bytes as a list. */
    static Object plain(Object value) {
        if (value instanceof LongString) {
            return value.toString();
        }
        if (value instanceof byte[]) {
            return Arrays.toString((byte[]) value);
        }
        if (value instanceof List) {
            return ((List<?>) value).stream().map(Contents::plain).collect(Collectors.toList());
        }
        if (value instanceof Map) {
            Map<Object, Object> copy = new HashMap<>();
            ((Map<?, ?>) value).forEach((key, each) -> copy.put(key, plain(each)));
            return copy;
        }
        return value;
    }

    static void headerTypes(Connection connection, Channel channel) throws Exception {
        String queue = Checks.ownQueue(channel);
        Map<String, Object> sent = new HashMap<>();
        sent.put("t", true);
        sent.put("b", (byte) -3);
        sent.put("s", (short) -300);
        sent.put("I", -70000);
        sent.put("l", -1L << 60);
        sent.put("f", 0.5f);
        sent.put("d", 2.25);
        sent.put("D", new BigDecimal("123.45"));
        sent.put("S", "text é");
        sent.put("x", new byte[] {0, -1});
        sent.put("T", new Date(4102444800000L));
        sent.put("V", null);
        sent.put("A", List.of(1, "two", List.of(false), Map.of("in", "array")));
        sent.put("F", Map.of("nested", Map.of("deeper", 1L), "empty", Map.of()));
        channel.basicPublish("", queue, new BasicProperties.Builder().headers(sent).build(), new byte[0]);
        Map<String, Object> got = channel.basicGet(queue, true).getProps().getHeaders();
        Checks.equal(plain(sent), plain(got));
    }

    static void properties(Connection connection, Channel channel) throws Exception {
        String queue = Checks.ownQueue(channel);
        BasicProperties sent = new BasicProperties.Builder().contentType("text/plain").contentEncoding("utf-8")
                .deliveryMode(2).priority(7).correlationId("corr").replyTo("answers").expiration("60000")
                .messageId("id-1").timestamp(new Date(1700000000000L)).type("kind").userId("guest").appId("app")
                .clusterId("cluster").build();
        channel.basicPublish("", queue, sent, new byte[0]);
        GetResponse got = channel.basicGet(queue, true);
        Checks.equal(sent, got.getProps());
        Checks.equal(0, got.getBody().length);
    }

    static void bigMessage(Connection connection, Channel channel) throws Exception {
        String queue = Checks.ownQueue(channel);
        byte[] body = "0123456789abcdef".repeat(1 << 20).getBytes(); // 16 MiB
        channel.basicPublish("", queue, Checks.NONE, body);
        Checks.numbered(channel, queue, 1);
        BlockingQueue<Delivery> inbox = Checks.subscribe(channel, queue, true, "");
        Checks.check(Arrays.equals(body, Checks.next(inbox, "the big one").getBody()), "another body came back");
        Checks.equal("0", Checks.text(Checks.next(inbox, "the small one")));
    }
}
