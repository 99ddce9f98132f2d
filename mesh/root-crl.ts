// Which issuing CAs a root has withdrawn, by the revocation list that the root signed (RFC 5280 §5): for those who hear of it by no
// feed. Who hands the list over does not matter, only who signed it; a list that was held back is no news, and never an error.

import 'reflect-metadata'
import { webcrypto, type X509Certificate } from 'node:crypto'
import * as x509 from '@peculiar/x509'
import { keyFingerprintOf } from './authorities.js'
import { MeshError } from './errors.js'
import { integer, listOf, type Read, record, word } from './parse.js'

/** What of it is kept: `{version: 1, authorities: [{issuer, serial}]}`; `issuer` is the SHA-256 of the root's SubjectPublicKeyInfo. */
export const READ_WITHDRAWN = record({
  version: integer(1, 1),
  authorities: listOf(record({ issuer: word(hex(64, 64), 64), serial: word(hex(2, 40), 40) }), 4096),
})
/** The certificate of an issuing CA that its root withdrew; hex in lower case. */
export type WithdrawnCa = Read<typeof READ_WITHDRAWN>['authorities'][number]

/** A root has a new issuing CA a year; far more than that is no list of one. */
const MAX_BYTES = 65_536

/**
 * Reads the list of a root.
 * @param der as fetched from anybody
 * @returns all that it names, whenever it was to be replaced: what was withdrawn once stays so
 * @throws MeshError CRL_INVALID (encoding, issuer, signature, a critical extension)
 */
export async function readRootCrl(der: Uint8Array, root: X509Certificate): Promise<WithdrawnCa[]> {
  if (der.length > MAX_BYTES) throw invalid(`it has more than ${MAX_BYTES} bytes`)
  try {
    const list = new x509.X509Crl(new Uint8Array(der))
    const signer = new x509.X509Certificate(root.raw)
    if (!Buffer.from(list.issuerName.toArrayBuffer()).equals(Buffer.from(signer.subjectName.toArrayBuffer())))
      throw invalid('it is of another issuer')
    if (!(await list.verify({ publicKey: signer }, webcrypto))) throw invalid('its signature does not verify')
    // what narrows a list (deltas, issuing distribution points) is critical (RFC 5280 §5.2)
    const extensions = [...list.extensions, ...list.entries.flatMap((entry) => entry.extensions)]
    if (extensions.some(({ critical }) => critical)) throw invalid('a critical extension is not understood')
    const issuer = keyFingerprintOf(root)
    return list.entries.map(({ serialNumber }) => ({ issuer, serial: plainSerial(serialNumber) }))
  } catch (error) {
    throw error instanceof MeshError ? error : invalid('it cannot be read', error)
  }
}

/** As certificates are read: lower-case hex, whole octets, none of them a leading zero. */
function plainSerial(serial: string): string {
  const plain = serial.toLowerCase().replace(/^(00)+(?=..)/, '')
  if (!/^([0-9a-f]{2}){1,20}$/.test(plain)) throw invalid('a serial number has more than 20 octets')
  return plain
}

function hex(least: number, most: number): (raw: string) => string {
  const form = new RegExp(`^[0-9a-f]{${least},${most}}$`)
  return (raw) => {
    if (!form.test(raw)) throw new Error('not lower-case hex')
    return raw
  }
}

const invalid = (why: string, cause?: unknown): MeshError =>
  new MeshError('CRL_INVALID', `the revocation list of the root is refused: ${why}`, { cause })
