// Certificate requests as an attacker, or a careless client, would make them.

import 'reflect-metadata'
import { generateKeyPairSync, sign, webcrypto } from 'node:crypto'
import {
  BasicConstraintsExtension,
  ChallengePasswordAttribute,
  type Extension,
  type Pkcs10CertificateRequestCreateParams,
  Pkcs10CertificateRequestGenerator,
  SubjectAlternativeNameExtension,
} from '@peculiar/x509'

type Algorithm = webcrypto.EcKeyGenParams | webcrypto.RsaHashedKeyGenParams | { name: 'Ed25519' }

const P256: Algorithm = { name: 'ECDSA', namedCurve: 'P-256' }

async function make(
  changes: Partial<Pkcs10CertificateRequestCreateParams>,
  algorithm: Algorithm = P256,
): Promise<Buffer> {
  const keys = (await webcrypto.subtle.generateKey(algorithm, true, [
    'sign',
    'verify',
  ])) as webcrypto.CryptoKeyPair
  const request = await Pkcs10CertificateRequestGenerator.create(
    { name: 'CN=planner', keys, signingAlgorithm: { name: 'ECDSA', hash: 'SHA-256' }, ...changes },
    webcrypto,
  )
  return Buffer.from(request.rawData)
}

export const pemOf = (der: Buffer, label = 'CERTIFICATE REQUEST'): string => {
  const body = der.toString('base64').match(/.{1,64}/g) ?? []
  return `-----BEGIN ${label}-----\n${body.join('\n')}\n-----END ${label}-----\n`
}

const withExtensions = (...extensions: Extension[]): Promise<Buffer> => make({ extensions })

export const plainDer = (): Promise<Buffer> => make({})
export const p384Der = (): Promise<Buffer> => make({}, { name: 'ECDSA', namedCurve: 'P-384' })
export const p521Der = (): Promise<Buffer> => make({}, { name: 'ECDSA', namedCurve: 'P-521' })
export const ed25519Der = (): Promise<Buffer> =>
  make({ signingAlgorithm: { name: 'Ed25519' } }, { name: 'Ed25519' })
export const rsaDer = (): Promise<Buffer> =>
  make(
    { signingAlgorithm: { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' } },
    {
      name: 'RSASSA-PKCS1-v1_5',
      hash: 'SHA-256',
      modulusLength: 2048,
      publicExponent: new Uint8Array([1, 0, 1]),
    },
  )
export const twoUriSansDer = (): Promise<Buffer> =>
  withExtensions(
    new SubjectAlternativeNameExtension([
      { type: 'url', value: 'spiffe://acme.internal/agent/planner' },
      { type: 'url', value: 'spiffe://acme.internal/agent/admin' },
    ]),
  )
export const caExtensionDer = (): Promise<Buffer> =>
  withExtensions(new BasicConstraintsExtension(true, 0, true))
export const challengePasswordDer = (): Promise<Buffer> =>
  make({ attributes: [new ChallengePasswordAttribute('let me in')] })

/** The signature of another request over the same kind of key. */
export async function wrongSignatureDer(): Promise<Buffer> {
  const der = Buffer.from(await plainDer())
  const last = der.length - 1
  der[last] = (der[last] ?? 0) ^ 1
  return der
}

/** The subject replaced after signing. */
export async function changedSubjectDer(): Promise<Buffer> {
  const der = Buffer.from(await plainDer())
  der.write('p1anner', der.indexOf('planner'))
  return der
}

/** BER: the outer SEQUENCE with an indefinite length. */
export async function indefiniteLengthDer(): Promise<Buffer> {
  const der = await plainDer()
  const header = (der[1] ?? 0) < 0x80 ? 2 : 2 + ((der[1] ?? 0) & 0x7f)
  return Buffer.concat([Buffer.from([0x30, 0x80]), der.subarray(header), Buffer.from([0, 0])])
}

const tlv = (tag: number, ...parts: Uint8Array[]): Buffer => {
  const content = Buffer.concat(parts)
  const size = content.length < 0x80 ? [content.length] : [0x81, content.length]
  return Buffer.concat([Buffer.from([tag, ...size]), content])
}

/** Rightly signed, over a P-256 key whose point is compressed: the same key in another spelling (SEC 1 §2.3.3). */
export function compressedPointDer(): Buffer {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const spki = publicKey.export({ type: 'spki', format: 'der' })
  const [algorithm, point] = [spki.subarray(2, 23), spki.subarray(-65)]
  const parity = (point.at(-1) ?? 0) & 1
  const bits = tlv(0x03, Buffer.from([0, 2 + parity]), point.subarray(1, 33))
  const info = tlv(
    0x30,
    Buffer.from('020100', 'hex'),
    tlv(0x30),
    tlv(0x30, algorithm, bits),
    Buffer.from('a000', 'hex'),
  )
  const signature = tlv(0x03, Buffer.from([0]), sign('sha256', info, privateKey))
  return tlv(0x30, info, Buffer.from('300a06082a8648ce3d040302', 'hex'), signature)
}
