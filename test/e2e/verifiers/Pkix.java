// Java's PKIX as a TLS server and a TLS client use it. Argument: a file with a case a line, "client|server ROOT CHAIN". Prints "ok" or
// "refused: WHY" for each.

import java.io.FileInputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import javax.net.ssl.TrustManagerFactory;
import javax.net.ssl.X509TrustManager;

public class Pkix {
  public static void main(String[] args) throws Exception {
    for (String line : Files.readAllLines(Path.of(args[0]))) {
      String[] part = line.split("\t");
      System.out.println(judge(part[0], part[1], part[2]));
    }
  }

  static String judge(String usage, String root, String chain) throws Exception {
    KeyStore trusted = KeyStore.getInstance(KeyStore.getDefaultType());
    trusted.load(null, null);
    trusted.setCertificateEntry("root", read(root)[0]);
    TrustManagerFactory factory = TrustManagerFactory.getInstance("PKIX");
    factory.init(trusted);
    X509TrustManager judge = (X509TrustManager) factory.getTrustManagers()[0];
    try {
      if (usage.equals("client")) judge.checkClientTrusted(read(chain), "EC");
      else judge.checkServerTrusted(read(chain), "ECDHE_ECDSA");
      return "ok";
    } catch (Exception refused) {
      return "refused: " + refused.getMessage().replace('\n', ' ');
    }
  }

  static X509Certificate[] read(String file) throws Exception {
    try (FileInputStream in = new FileInputStream(file)) {
      return CertificateFactory.getInstance("X.509").generateCertificates(in).toArray(new X509Certificate[0]);
    }
  }
}
