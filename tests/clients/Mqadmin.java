import java.io.*;
import java.nio.charset.StandardCharsets;
import org.apache.rocketmq.tools.command.MQAdminStartup;

/** RocketMQ's mqadmin, command after command in one virtual machine: a line each, words between tabs. */
public class Mqadmin {
    public static void main(String[] args) throws IOException {
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            MQAdminStartup.main(line.split("\t"));
            System.out.print("\u0004\n");
            System.out.flush();
        }
    }
}
