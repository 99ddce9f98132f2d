// Key pairs and certificate requests (RFC 2986). The key is ECDSA P-256 and never leaves this host; the request asks for nothing
// but a name: the CA sets every field itself.

import { createPrivateKey, createPublicKey, generateKeyPair, sign } from 'node:crypto'
import { promisify } from 'node:util'
import {
  bitString,
  explicit,
  integer,
  oid,
  printableString,
  sequence,
  set,
  utf8String,
} from '../../mesh/der-writer.js'
import { formatPem } from '../../mesh/pem.js'

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

const COMMON_NAME = oid('2.5.4.3')
const SERIAL_NUMBER = oid('2.5.4.5')
/** ecdsa-with-SHA256 (RFC 5758 §3.2). */
const SIGNED_WITH = sequence(oid('1.2.840.10045.4.3.2'))

/** A new ECDSA P-256 key, PKCS#8 PEM. */
export async function makeKey(): Promise<string> {
  const { privateKey } = await promisify(generateKeyPair)('ec', { namedCurve: 'P-256' })
  return privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
}

/** A request for a key of `makeKey` (RFC 2986 §4), PEM. The same key asks for the same certificate, however often. */
export function makeCsr(keyPem: string, { commonName, instanceId }: CsrSubject): string {
  const key = createPrivateKey(keyPem)
  const subject = sequence(
    set(sequence(COMMON_NAME, utf8String(commonName))),
    set(sequence(SERIAL_NUMBER, printableString(instanceId))),
  )
  const publicKey = createPublicKey(key).export({ type: 'spki', format: 'der' })
  const info = sequence(integer(0), subject, publicKey, explicit(0))
  return formatPem('CERTIFICATE REQUEST', sequence(info, SIGNED_WITH, bitString(sign('sha256', info, key))))
}

/** A new key and the request for it. */
export async function makeKeyAndCsr(subject: CsrSubject): Promise<KeyAndCsr> {
  const keyPem = await makeKey()
  return { keyPem, csrPem: makeCsr(keyPem, subject) }
}
