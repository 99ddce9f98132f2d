// Key pairs and certificate requests (RFC 2986). The key is ECDSA P-256 and never leaves this host; the request asks for nothing
// but a name: the CA sets every field itself.

import 'reflect-metadata'
import { createPrivateKey, createPublicKey, generateKeyPair, webcrypto } from 'node:crypto'
import { promisify } from 'node:util'
import { Name, Pkcs10CertificateRequestGenerator } from '@peculiar/x509'

/** What a request is made for. */
export interface CsrSubject {
  readonly commonName: string
  /** UUID, the subject's serialNumber attribute. */
  readonly instanceId: string
}

/** PKCS#8 and PKCS#10, both PEM. */
export interface KeyAndCsr {
  readonly keyPem: string
  readonly csrPem: string
}

const COMMON_NAME = '2.5.4.3'
const SERIAL_NUMBER = '2.5.4.5'
const ECDSA = { name: 'ECDSA', namedCurve: 'P-256' } as const

/** A new ECDSA P-256 key, PKCS#8 PEM. */
export async function makeKey(): Promise<string> {
  const { privateKey } = await promisify(generateKeyPair)('ec', { namedCurve: 'P-256' })
  return privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
}

/** A request for a key that exists, PEM. The same key asks for the same certificate, however often. */
export async function makeCsr(keyPem: string, { commonName, instanceId }: CsrSubject): Promise<string> {
  const request = await Pkcs10CertificateRequestGenerator.create(
    {
      name: new Name([{ [COMMON_NAME]: [commonName] }, { [SERIAL_NUMBER]: [instanceId] }]),
      keys: await importPair(keyPem),
      signingAlgorithm: { name: 'ECDSA', hash: 'SHA-256' },
    },
    webcrypto,
  )
  return `${request.toString('pem')}\n`
}

/** A new key and the request for it. */
export async function makeKeyAndCsr(subject: CsrSubject): Promise<KeyAndCsr> {
  const keyPem = await makeKey()
  return { keyPem, csrPem: await makeCsr(keyPem, subject) }
}

async function importPair(keyPem: string): Promise<webcrypto.CryptoKeyPair> {
  const privateKey = createPrivateKey(keyPem)
  const pkcs8 = privateKey.export({ type: 'pkcs8', format: 'der' })
  const spki = createPublicKey(privateKey).export({ type: 'spki', format: 'der' })
  return {
    privateKey: await webcrypto.subtle.importKey('pkcs8', pkcs8, ECDSA, false, ['sign']),
    publicKey: await webcrypto.subtle.importKey('spki', spki, ECDSA, true, ['verify']),
  }
}
