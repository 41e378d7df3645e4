import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.ConnectionFactory;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * What a program on com.rabbitmq:amqp-client relies on, against a running broker.
 *
 * <pre>
 * java Main URL          every scenario: a line "ok NAME" or "FAIL NAME: why" each; exit code 1 if any failed
 * java Main URL recover  prints "connected", leaves the restart to automatic recovery, prints "recovered"
 * </pre>
 */
public class Main {
    interface Scenario {
        void run(Connection connection, Channel channel) throws Exception;
    }

    static final Map<String, Scenario> SCENARIOS = new LinkedHashMap<>();

    static {
        SCENARIOS.put("declares every kind of exchange and queue", Declaring::declares);
        SCENARIOS.put("is told 404 and 406 on the channel only", Declaring::channelErrors);
        SCENARIOS.put("routes over bindings between exchanges", Declaring::exchangeToExchange);
        SCENARIOS.put("routes by headers", Declaring::headersExchange);
        SCENARIOS.put("gets every publish confirmed", Messages::confirms);
        SCENARIOS.put("gets what has no route back, before its confirm", Messages::mandatory);
        SCENARIOS.put("holds to its prefetch", Messages::prefetch);
        SCENARIOS.put("requeues to the original place", Messages::requeue);
        SCENARIOS.put("gets single messages", Messages::gets);
        SCENARIOS.put("gets every type of header back", Contents::headerTypes);
        SCENARIOS.put("gets every property back", Contents::properties);
        SCENARIOS.put("hears of a consumer's cancellation", Messages::cancelNotice);
        SCENARIOS.put("moves a message of many frames", Contents::bigMessage);
        SCENARIOS.put("uses many channels at once", Messages::manyChannels);
    }

    public static void main(String[] arguments) throws Exception {
        ConnectionFactory factory = new ConnectionFactory();
        factory.setUri(arguments[0]);
        if (arguments.length > 1) {
            Recovery.fromRestart(factory);
            return;
        }
        boolean failed = false;
        for (Map.Entry<String, Scenario> each : SCENARIOS.entrySet()) {
            try (Connection connection = factory.newConnection()) {
                each.getValue().run(connection, connection.createChannel());
                System.out.println("ok " + each.getKey());
            } catch (Throwable why) {
                failed = true;
                System.out.println("FAIL " + each.getKey() + ": " + why);
                why.printStackTrace();
            }
        }
        System.exit(failed ? 1 : 0);
    }
}
