import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyFactory;
import java.security.MessageDigest;
import java.security.PrivateKey;
import java.security.PublicKey;
import java.security.interfaces.RSAPrivateCrtKey;
import java.security.spec.PKCS8EncodedKeySpec;
import java.security.spec.RSAPublicKeySpec;
import java.text.SimpleDateFormat;
import java.util.Base64;
import java.util.Date;
import java.util.HexFormat;
import java.util.List;
import java.util.TimeZone;
import org.bouncycastle.asn1.ASN1Encodable;
import org.bouncycastle.asn1.ASN1EncodableVector;
import org.bouncycastle.asn1.ASN1Boolean;
import org.bouncycastle.asn1.ASN1Integer;
import org.bouncycastle.asn1.DERBMPString;
import org.bouncycastle.asn1.DEROctetString;
import org.bouncycastle.asn1.DERSequence;
import org.bouncycastle.asn1.DERTaggedObject;
import org.bouncycastle.asn1.DERVisibleString;
import org.bouncycastle.asn1.x500.X500Name;
import org.bouncycastle.asn1.x500.X500NameBuilder;
import org.bouncycastle.asn1.x500.style.BCStyle;
import org.bouncycastle.asn1.x509.AuthorityKeyIdentifier;
import org.bouncycastle.asn1.x509.Extension;
import org.bouncycastle.asn1.x509.SubjectKeyIdentifier;
import org.bouncycastle.asn1.x509.SubjectPublicKeyInfo;
import org.bouncycastle.cert.X509CertificateHolder;
import org.bouncycastle.cert.X509v3CertificateBuilder;
import org.bouncycastle.cert.jcajce.JcaCertStore;
import org.bouncycastle.cms.CMSProcessableByteArray;
import org.bouncycastle.cms.CMSSignedDataGenerator;
import org.bouncycastle.cms.jcajce.JcaSignerInfoGeneratorBuilder;
import org.bouncycastle.jce.provider.BouncyCastleProvider;
import org.bouncycastle.operator.ContentSigner;
import org.bouncycastle.operator.jcajce.JcaContentSignerBuilder;
import org.bouncycastle.operator.jcajce.JcaDigestCalculatorProviderBuilder;

/**
 * Writes a parcel with Bouncy Castle, by the same calls that Kotlin clients make. The README beside this file says how
 * to run it.
 *
 * <p>Arguments: the folder of keys, octets of payload, certificates in order or reversed ("forward", "reversed"), the
 * file to write, and a file for the gateway's certificate.
 */
public final class BouncyCastleParcel {
    static final BouncyCastleProvider PROVIDER = new BouncyCastleProvider();
    static final long DAY = 86_400_000L;
    /** 2026-11-20 12:00 UTC, when the tests judge messages. */
    static final long NOW = 1_795_176_000_000L;

    record Key(PrivateKey privateKey, PublicKey publicKey) {
        SubjectPublicKeyInfo info() {
            return SubjectPublicKeyInfo.getInstance(publicKey.getEncoded());
        }

        byte[] digest() throws Exception {
            return MessageDigest.getInstance("SHA-256").digest(publicKey.getEncoded());
        }

        String id() throws Exception {
            return "0" + HexFormat.of().formatHex(digest());
        }

        X500Name name() throws Exception {
            return new X500NameBuilder(BCStyle.INSTANCE).addRDN(BCStyle.CN, new DERBMPString(id())).build();
        }

        ContentSigner signer() throws Exception {
            return new JcaContentSignerBuilder("SHA256WITHRSAANDMGF1").setProvider(PROVIDER).build(privateKey);
        }
    }

    public static void main(String[] arguments) throws Exception {
        Path folder = Path.of(arguments[0]);
        int octets = Integer.parseInt(arguments[1]);
        Key gateway = key(folder, "internet-gateway");
        Key privateGateway = key(folder, "private-gateway");
        Key endpoint = key(folder, "endpoint");
        Key sender = key(folder, "sender");

        X509CertificateHolder own = certificate(gateway, gateway, true, 2);
        X509CertificateHolder[] chain = {
            certificate(sender, endpoint, false, 0),
            certificate(endpoint, privateGateway, true, 0),
            certificate(privateGateway, gateway, true, 1)
        };
        List<X509CertificateHolder> order =
            arguments[2].equals("reversed") ? List.of(own, chain[2], chain[1], chain[0]) : List.of(chain);

        CMSSignedDataGenerator generator = new CMSSignedDataGenerator();
        generator.addSignerInfoGenerator(
            new JcaSignerInfoGeneratorBuilder(new JcaDigestCalculatorProviderBuilder().setProvider(PROVIDER).build())
                .build(sender.signer(), chain[0]));
        generator.addCertificates(new JcaCertStore(order));
        byte[] envelope =
            generator.generate(new CMSProcessableByteArray(content(endpoint.id(), octets)), true).getEncoded();
        byte[] prefix = {'A', 'w', 'a', 'l', 'a', 0x50, 0};
        byte[] parcel = new byte[prefix.length + envelope.length];
        System.arraycopy(prefix, 0, parcel, 0, prefix.length);
        System.arraycopy(envelope, 0, parcel, prefix.length, envelope.length);
        Files.write(Path.of(arguments[3]), parcel);
        Files.write(Path.of(arguments[4]), own.getEncoded());
    }

    static Key key(Path folder, String name) throws Exception {
        String pem = Files.readString(folder.resolve(name + ".pem")).replaceAll("-----[^-]+-----|\\s", "");
        KeyFactory factory = KeyFactory.getInstance("RSA", PROVIDER);
        RSAPrivateCrtKey privateKey =
            (RSAPrivateCrtKey) factory.generatePrivate(new PKCS8EncodedKeySpec(Base64.getDecoder().decode(pem)));
        return new Key(
            privateKey,
            factory.generatePublic(new RSAPublicKeySpec(privateKey.getModulus(), privateKey.getPublicExponent())));
    }

    static X509CertificateHolder certificate(Key subject, Key issuer, boolean isCa, int pathLength) throws Exception {
        X509v3CertificateBuilder builder =
            new X509v3CertificateBuilder(
                issuer.name(),
                new BigInteger(64, new java.security.SecureRandom()),
                new Date(NOW - 30 * DAY),
                new Date(NOW + 60 * DAY),
                subject.name(),
                subject.info());
        // An explicit FALSE, as Kotlin clients write it.
        ASN1Encodable[] constraints = {ASN1Boolean.getInstance(isCa), new ASN1Integer(pathLength)};
        builder.addExtension(Extension.basicConstraints, true, new DERSequence(constraints));
        builder.addExtension(Extension.subjectKeyIdentifier, false, new SubjectKeyIdentifier(subject.digest()));
        builder.addExtension(Extension.authorityKeyIdentifier, false, new AuthorityKeyIdentifier(issuer.digest()));
        return builder.build(issuer.signer());
    }

    /** The signed fields (RS-001); the payload is the octets 0, 1, 2 … 250, 0, 1 …. */
    static byte[] content(String recipientId, int octets) throws Exception {
        SimpleDateFormat digits = new SimpleDateFormat("yyyyMMddHHmmss");
        digits.setTimeZone(TimeZone.getTimeZone("UTC"));
        byte[] creation = digits.format(new Date(NOW - 3_600_000L)).getBytes(StandardCharsets.US_ASCII);
        byte[] payload = new byte[octets];
        for (int i = 0; i < octets; i++) {
            payload[i] = (byte) (i % 251);
        }
        DERSequence recipient = new DERSequence(new DERTaggedObject(false, 0, new DERVisibleString(recipientId)));
        ASN1EncodableVector fields = new ASN1EncodableVector();
        fields.add(new DERTaggedObject(false, 0, recipient));
        fields.add(new DERTaggedObject(false, 1, new DERVisibleString("bouncy")));
        fields.add(new DERTaggedObject(false, 2, new DEROctetString(creation)));
        fields.add(new DERTaggedObject(false, 3, new ASN1Integer(86_400)));
        fields.add(new DERTaggedObject(false, 4, new DEROctetString(payload)));
        return new DERSequence(fields).getEncoded();
    }
}
