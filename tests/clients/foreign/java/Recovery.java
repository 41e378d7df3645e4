import com.rabbitmq.client.BuiltinExchangeType;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.ConnectionFactory;
import com.rabbitmq.client.Delivery;
import com.rabbitmq.client.MessageProperties;
import com.rabbitmq.client.Recoverable;
import com.rabbitmq.client.RecoveryListener;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;

/**
 * Everything is left to the client's automatic recovery: a durable queue with a confirmed message, an exclusive queue that
 * the server named, its binding, and a consumer on each must be there again after a restart of the broker.
 */
final class Recovery {
    private Recovery() {}

    static void fromRestart(ConnectionFactory factory) throws Exception {
        factory.setNetworkRecoveryInterval(100);
        Connection connection = factory.newConnection();
        BlockingQueue<String> recovered = new LinkedBlockingQueue<>();
        ((Recoverable) connection).addRecoveryListener(new RecoveryListener() {
            @Override
            public void handleRecovery(Recoverable each) {
                recovered.add("recovered");
            }

            @Override
            public void handleRecoveryStarted(Recoverable each) {}
        });
        Channel channel = connection.createChannel();
        String own = Checks.ownQueue(channel), name = "t-recovery-" + own.substring(4);
        channel.queueDeclare(name, true, false, false, null);
        channel.exchangeDeclare(name, BuiltinExchangeType.TOPIC, false, true, Map.of());
        channel.queueBind(own, name, "k.#");
        channel.confirmSelect();
        channel.basicPublish("", name, MessageProperties.PERSISTENT_TEXT_PLAIN, "kept".getBytes());
        channel.waitForConfirmsOrDie(Checks.PATIENCE_SECONDS * 1000);
        BlockingQueue<Delivery> inbox = Checks.subscribe(channel, own, true, "");
        Checks.publish(channel, name, "k.1", "before");
        Checks.equal("before", Checks.text(Checks.next(inbox, "before")));

        System.out.println("connected");
        Checks.next(recovered, "recovery");
        Checks.publish(channel, name, "k.2", "after");
        Checks.equal("after", Checks.text(Checks.next(inbox, "after")));
        Delivery kept = Checks.next(Checks.subscribe(channel, name, false, ""), "kept");
        Checks.equal("kept", Checks.text(kept));
        channel.basicAck(kept.getEnvelope().getDeliveryTag(), false);
        channel.queueDelete(name);
        connection.close();
        System.out.println("recovered");
    }
}
