// One leaf the way that @peculiar/x509 offers it: what our own writer is measured against, and, in a test, compared with. Every call does
// all of the work, as a straightforward use of the library does.

import 'reflect-metadata'
import { createHash, type KeyObject, webcrypto } from 'node:crypto'
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  type Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
  Name,
  Pkcs10CertificateRequest,
  PublicKey,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate,
  X509CertificateGenerator,
} from '@peculiar/x509'
import type { Profile } from '../../ca/certificate/profile.js'

const P256 = { name: 'ECDSA', namedCurve: 'P-256' } as const
const OIDS = { CN: '2.5.4.3', O: '2.5.4.10', serialNumber: '2.5.4.5' } as const

export interface LibrarySigner {
  /** Null: it signs itself. */
  readonly certificateDer: Buffer | null
  readonly key: webcrypto.CryptoKey
}

export interface LibraryLeaf {
  readonly pem: string
  readonly serial: string
  readonly publicKeyHash: string
}

export function libraryKey(key: KeyObject): Promise<webcrypto.CryptoKey> {
  return webcrypto.subtle.importKey('pkcs8', key.export({ format: 'der', type: 'pkcs8' }), P256, false, [
    'sign',
  ])
}

/** Parses and verifies a request, signs a leaf for it, and reads that again. @throws Error when anything does not hold */
export async function issueByLibrary(
  csrPem: string,
  profile: Profile,
  signer: LibrarySigner,
): Promise<LibraryLeaf> {
  const request = new Pkcs10CertificateRequest(csrPem)
  if (!(await request.verify(webcrypto))) throw new Error('the request does not verify')
  if (request.attributes.length > 0) throw new Error('the request asks for something')
  const serial = Buffer.from(webcrypto.getRandomValues(new Uint8Array(16)))
  serial[0] = ((serial[0] ?? 0) & 0x3f) | 0x40
  const der = await certificateByLibrary(profile, Buffer.from(request.publicKey.rawData), { signer, serial })
  const again = new X509Certificate(new Uint8Array(der))
  const issuer = new X509Certificate(new Uint8Array(signer.certificateDer ?? der))
  const isRight = await again.verify({ publicKey: issuer.publicKey, signatureOnly: true }, webcrypto)
  if (!isRight || again.subjectName.getField('CN')[0] !== profile.subject[0]?.value)
    throw new Error('the certificate does not read as meant')
  const publicKeyHash = createHash('sha256').update(Buffer.from(request.publicKey.rawData)).digest('hex')
  return { pem: again.toString('pem'), serial: again.serialNumber, publicKeyHash }
}

/** A certificate of the profile, DER. */
export async function certificateByLibrary(
  profile: Profile,
  spkiDer: Buffer,
  { signer, serial }: { signer: LibrarySigner; serial: Buffer },
): Promise<Buffer> {
  const publicKey = new PublicKey(new Uint8Array(spkiDer))
  const subject = new Name(profile.subject.map(({ attribute, value }) => ({ [OIDS[attribute]]: [value] })))
  const issuer =
    signer.certificateDer === null ? null : new X509Certificate(new Uint8Array(signer.certificateDer))
  const issuerKeyId = issuer?.getExtension(SubjectKeyIdentifierExtension)?.keyId
  const signed = await X509CertificateGenerator.create(
    {
      serialNumber: serial.toString('hex'),
      subject,
      issuer: issuer?.subjectName ?? subject,
      notBefore: new Date(profile.notBefore),
      notAfter: new Date(profile.notAfter),
      publicKey,
      signingKey: signer.key,
      signingAlgorithm: { name: 'ECDSA', hash: 'SHA-256' },
      extensions: [
        ...usagesOf(profile),
        new SubjectAlternativeNameExtension([
          { type: 'url', value: profile.uri },
          ...profile.dns.map((value) => ({ type: 'dns' as const, value })),
          ...profile.ip.map((value) => ({ type: 'ip' as const, value })),
        ]),
        await SubjectKeyIdentifierExtension.create(publicKey, false, webcrypto),
        ...(issuerKeyId === undefined ? [] : [new AuthorityKeyIdentifierExtension(issuerKeyId)]),
      ],
    },
    webcrypto,
  )
  return Buffer.from(signed.rawData)
}

function usagesOf({ usage }: Profile): Extension[] {
  if (usage === 'leaf') {
    return [
      new BasicConstraintsExtension(false, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
      new ExtendedKeyUsageExtension([ExtendedKeyUsage.clientAuth, ExtendedKeyUsage.serverAuth]),
    ]
  }
  return [
    new BasicConstraintsExtension(true, usage === 'root' ? 1 : 0, true),
    new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
  ]
}
