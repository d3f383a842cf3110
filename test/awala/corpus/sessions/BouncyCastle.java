import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyFactory;
import java.security.KeyPair;
import java.security.KeyPairGenerator;
import java.security.PrivateKey;
import java.security.PublicKey;
import java.security.SecureRandom;
import java.security.Security;
import java.security.spec.ECGenParameterSpec;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.HexFormat;
import java.util.Hashtable;
import java.util.List;
import org.bouncycastle.asn1.ASN1ObjectIdentifier;
import org.bouncycastle.asn1.DEROctetString;
import org.bouncycastle.asn1.DERSet;
import org.bouncycastle.asn1.cms.Attribute;
import org.bouncycastle.asn1.cms.AttributeTable;
import org.bouncycastle.asn1.cms.CMSAttributes;
import org.bouncycastle.cms.CMSAlgorithm;
import org.bouncycastle.cms.CMSAuthEnvelopedDataGenerator;
import org.bouncycastle.cms.CMSEnvelopedData;
import org.bouncycastle.cms.CMSEnvelopedDataGenerator;
import org.bouncycastle.cms.CMSProcessableByteArray;
import org.bouncycastle.cms.KeyAgreeRecipientInformation;
import org.bouncycastle.cms.SimpleAttributeTableGenerator;
import org.bouncycastle.cms.jcajce.JceCMSContentEncryptorBuilder;
import org.bouncycastle.cms.jcajce.JceKeyAgreeEnvelopedRecipient;
import org.bouncycastle.cms.jcajce.JceKeyAgreeRecipientInfoGenerator;
import org.bouncycastle.jce.interfaces.ECPrivateKey;
import org.bouncycastle.jce.provider.BouncyCastleProvider;
import org.bouncycastle.jce.spec.ECPublicKeySpec;
import org.bouncycastle.operator.OutputAEADEncryptor;

/**
 * Writes messages of channel sessions with Bouncy Castle ("write", to standard output), or reads the messages of another
 * corpus with it ("read FILE"). The README beside this file says how to run it.
 */
public final class BouncyCastle {
    static final ASN1ObjectIdentifier ORIGINATOR_KEY_ID = new ASN1ObjectIdentifier("1.3.6.1.4.1.58708.0.1.0");
    static final String[] CURVES = {"P-256", "P-384", "P-521"};
    static final String[] KDFS = {"sha256", "sha384", "sha512"};
    static final ASN1ObjectIdentifier[] KDF_OIDS = {
        CMSAlgorithm.ECDH_SHA256KDF, CMSAlgorithm.ECDH_SHA384KDF, CMSAlgorithm.ECDH_SHA512KDF
    };
    static final String[] WRAPS = {"aes128-wrap", "aes192-wrap", "aes256-wrap"};
    static final ASN1ObjectIdentifier[] WRAP_OIDS = {
        CMSAlgorithm.AES128_WRAP, CMSAlgorithm.AES192_WRAP, CMSAlgorithm.AES256_WRAP
    };
    static final String[] CIPHERS = {
        "aes-128-cbc", "aes-192-cbc", "aes-256-cbc", "aes-128-gcm", "aes-192-gcm", "aes-256-gcm"
    };
    static final ASN1ObjectIdentifier[] CIPHER_OIDS = {
        CMSAlgorithm.AES128_CBC, CMSAlgorithm.AES192_CBC, CMSAlgorithm.AES256_CBC,
        CMSAlgorithm.AES128_GCM, CMSAlgorithm.AES192_GCM, CMSAlgorithm.AES256_GCM
    };
    static final int[] LENGTHS = {0, 1, 15, 16, 17, 31, 100};
    static final SecureRandom RANDOM = new SecureRandom();
    static final PrintStream OUT = System.out;

    public static void main(String[] arguments) throws Exception {
        Security.addProvider(new BouncyCastleProvider());
        if (arguments.length == 2 && arguments[0].equals("read")) {
            read(Path.of(arguments[1]));
        } else if (arguments.length == 1 && arguments[0].equals("write")) {
            write();
        } else {
            throw new IllegalArgumentException("write | read FILE");
        }
    }

    static void write() throws Exception {
        int count = 0;
        for (int curve = 0; curve < 3; curve++) {
            for (int kdf = 0; kdf < 3; kdf++) {
                for (int wrap = 0; wrap < 3; wrap++) {
                    for (int ukm : new int[] {0, 64}) {
                        int cipher = (curve + kdf + wrap + (ukm > 0 ? 3 : 0)) % 6;
                        message(curve, kdf, wrap, ukm, cipher, LENGTHS[count++ % LENGTHS.length], false, false);
                    }
                }
            }
            for (int cipher = 3; cipher < 6; cipher++) {
                message(curve, curve, curve, 64, cipher, LENGTHS[count++ % LENGTHS.length], true, cipher % 2 == 0);
            }
        }
        // Long enough for Bouncy Castle to split the content into segments.
        for (int cipher = 0; cipher < 6; cipher++) {
            message(0, 0, 0, 64, cipher, 2_500, false, false);
        }
        message(0, 0, 0, 64, 3, 2_500, true, true);
    }

    static void message(
            int curve, int kdf, int wrap, int ukm, int cipher, int length, boolean authenticated, boolean withAttributes)
            throws Exception {
        KeyPairGenerator generator = KeyPairGenerator.getInstance("EC", "BC");
        generator.initialize(new ECGenParameterSpec(CURVES[curve]));
        KeyPair sender = generator.generateKeyPair();
        byte[] originatorKeyId = new byte[8];
        RANDOM.nextBytes(originatorKeyId);
        JceKeyAgreeRecipientInfoGenerator recipient = new JceKeyAgreeRecipientInfoGenerator(
                KDF_OIDS[kdf], sender.getPrivate(), sender.getPublic(), WRAP_OIDS[wrap]);
        if (ukm > 0) {
            byte[] material = new byte[ukm];
            RANDOM.nextBytes(material);
            recipient.setUserKeyingMaterial(material);
        }
        recipient.addRecipient(recipientKeyId(curve), publicKey(curve)).setProvider("BC");
        Hashtable<ASN1ObjectIdentifier, Attribute> attributes = new Hashtable<>();
        attributes.put(ORIGINATOR_KEY_ID, new Attribute(ORIGINATOR_KEY_ID, new DERSet(new DEROctetString(originatorKeyId))));
        SimpleAttributeTableGenerator unprotected = new SimpleAttributeTableGenerator(new AttributeTable(attributes));
        CMSProcessableByteArray content = new CMSProcessableByteArray(plaintext(length));
        JceCMSContentEncryptorBuilder encryptor = new JceCMSContentEncryptorBuilder(CIPHER_OIDS[cipher]).setProvider("BC");
        byte[] encoded;
        if (authenticated) {
            CMSAuthEnvelopedDataGenerator data = new CMSAuthEnvelopedDataGenerator();
            data.addRecipientInfoGenerator(recipient);
            data.setUnauthenticatedAttributeGenerator(unprotected);
            if (withAttributes) {
                Hashtable<ASN1ObjectIdentifier, Attribute> signed = new Hashtable<>();
                signed.put(CMSAttributes.contentHint, new Attribute(CMSAttributes.contentHint,
                        new DERSet(new DEROctetString("hint".getBytes(StandardCharsets.US_ASCII)))));
                signed.put(CMSAttributes.signingTime, new Attribute(CMSAttributes.signingTime,
                        new DERSet(new DEROctetString("never".getBytes(StandardCharsets.US_ASCII)))));
                data.setAuthenticatedAttributeGenerator(new SimpleAttributeTableGenerator(new AttributeTable(signed)));
            }
            encoded = data.generate(content, (OutputAEADEncryptor) encryptor.build()).getEncoded();
        } else {
            CMSEnvelopedDataGenerator data = new CMSEnvelopedDataGenerator();
            data.addRecipientInfoGenerator(recipient);
            data.setUnprotectedAttributeGenerator(unprotected);
            encoded = data.generate(content, encryptor.build()).getEncoded();
        }
        OUT.printf(
                "{\"container\":\"%s\",\"curve\":\"%s\",\"keyDerivation\":\"%s\",\"keyWrap\":\"%s\",\"cipher\":\"%s\","
                        + "\"ukmOctets\":%d,\"plaintextOctets\":%d,\"originatorKeyId\":\"%s\",\"message\":\"%s\"}%n",
                authenticated ? "AuthEnvelopedData" : "EnvelopedData", CURVES[curve], KDFS[kdf], WRAPS[wrap],
                CIPHERS[cipher], ukm, length, HexFormat.of().formatHex(originatorKeyId),
                Base64.getEncoder().encodeToString(encoded));
    }

    /** Reads lines as `write` makes them; EnvelopedData only. */
    static void read(Path file) throws Exception {
        int count = 0;
        List<String> failed = new ArrayList<>();
        for (String line : Files.readAllLines(file)) {
            int curve = Arrays.asList(CURVES).indexOf(field(line, "curve"));
            int length = Integer.parseInt(line.replaceAll(".*\"plaintextOctets\":(\\d+).*", "$1"));
            count++;
            try {
                CMSEnvelopedData data = new CMSEnvelopedData(Base64.getDecoder().decode(field(line, "message")));
                KeyAgreeRecipientInformation recipient =
                        (KeyAgreeRecipientInformation) data.getRecipientInfos().iterator().next();
                byte[] plaintext =
                        recipient.getContent(new JceKeyAgreeEnvelopedRecipient(privateKey(curve)).setProvider("BC"));
                byte[] id = ((DEROctetString) data.getUnprotectedAttributes().get(ORIGINATOR_KEY_ID).getAttrValues()
                        .getObjectAt(0)).getOctets();
                if (!Arrays.equals(plaintext, plaintext(length))
                        || !HexFormat.of().formatHex(id).equals(field(line, "originatorKeyId"))) {
                    throw new IllegalStateException("another plaintext or key id");
                }
            } catch (Exception exception) {
                failed.add(field(line, "cipher") + " " + line.substring(0, 160) + ": " + exception);
            }
        }
        OUT.printf("%d read, %d failed%n", count - failed.size(), failed.size());
        failed.forEach(OUT::println);
        System.exit(failed.isEmpty() ? 0 : 1);
    }

    static String field(String line, String name) {
        return line.replaceAll(".*\"" + name + "\":\"([^\"]*)\".*", "$1");
    }

    /** Octets 0, 1, 2 and so on, up to 250 and then from 0 again. */
    static byte[] plaintext(int length) {
        byte[] octets = new byte[length];
        for (int at = 0; at < length; at++) {
            octets[at] = (byte) (at % 251);
        }
        return octets;
    }

    static byte[] recipientKeyId(int curve) {
        return ("key " + CURVES[curve]).getBytes(StandardCharsets.US_ASCII);
    }

    static PrivateKey privateKey(int curve) throws Exception {
        String pem = Files.readString(Path.of("keys", CURVES[curve] + ".pem")).replaceAll("-----[A-Z ]+-----|\\s", "");
        return KeyFactory.getInstance("EC", "BC").generatePrivate(new PKCS8EncodedKeySpec(Base64.getDecoder().decode(pem)));
    }

    static PublicKey publicKey(int curve) throws Exception {
        ECPrivateKey key = (ECPrivateKey) privateKey(curve);
        return KeyFactory.getInstance("EC", "BC").generatePublic(
                new ECPublicKeySpec(key.getParameters().getG().multiply(key.getD()), key.getParameters()));
    }
}
