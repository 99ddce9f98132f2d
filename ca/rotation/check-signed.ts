// Looks at what came back from the root before any of it is recorded: nothing is taken on the word of the command that brings it.

import { X509Certificate } from 'node:crypto'
import { keyFingerprintOf } from '../../mesh/authorities.js'
import { type Certificate, readCertificate } from '../../mesh/certificate.js'
import { isMeshError, MeshError } from '../../mesh/errors.js'
import { isDevRoot } from '../../mesh/trust-bundle.js'
import type { Signed } from '../../mesh/wire/rotation.js'
import { authorityOf } from '../hierarchy.js'
import { labelsOf, type NewAuthority, type Rotation } from './model.js'

export interface Expectation {
  readonly rotation: Rotation
  readonly trustDomain: string
  /** The present root. */
  readonly root: X509Certificate
  /** Of the prepared key, DER. */
  readonly issuingSpki: Buffer
  readonly now: number
}

/**
 * @returns what is to be recorded
 * @throws MeshError CA_ROTATION_INVALID naming the first thing that is wrong
 */
export function checkSigned(signed: Signed, expected: Expectation): NewAuthority[] {
  const { rotation, root: present } = expected
  const labels = labelsOf(rotation)
  if ((rotation.kind === 'root') !== (signed.rootPem !== null))
    throw invalid('a root is there, or is missing')
  const root = signed.rootPem === null ? present : checkRoot(read(signed.rootPem), expected)
  const cross = signed.crossPem === null ? undefined : checkCross(read(signed.crossPem), root, present)
  const issuing = read(signed.issuingPem)
  checkCa(issuing, root, { ...expected, pathLength: 0 })
  if (!spkiOf(issuing).equals(expected.issuingSpki))
    throw invalid('the issuing CA has another key than was made for it')
  return [
    ...(root === present
      ? []
      : [authorityOf(root, { usage: 'root', label: labels.root, signedBy: root, ...(cross && { cross }) })]),
    authorityOf(issuing, { usage: 'issuing', label: labels.issuing, signedBy: root }),
  ]
}

function checkRoot(root: X509Certificate, expected: Expectation): X509Certificate {
  checkCa(root, root, { ...expected, pathLength: 1 })
  if (keyFingerprintOf(root) === keyFingerprintOf(expected.root))
    throw invalid('the new root has the old key')
  // members without --dev would turn away from the whole mesh
  if (isDevRoot(root) !== isDevRoot(expected.root)) throw invalid('only one of both roots is for development')
  return root
}

function checkCross(
  cross: X509Certificate,
  root: X509Certificate,
  present: X509Certificate,
): X509Certificate {
  if (!cross.checkIssued(present) || !cross.verify(present.publicKey))
    throw invalid('the old root did not sign the cross certificate')
  if (!spkiOf(cross).equals(spkiOf(root))) throw invalid('the cross certificate is of another key')
  return cross
}

function checkCa(
  certificate: X509Certificate,
  signedBy: X509Certificate,
  { trustDomain, now, pathLength }: Expectation & { pathLength: number },
): void {
  const says: Certificate = readCertificate(certificate)
  const checks: Record<string, boolean> = {
    'its signature': certificate.checkIssued(signedBy) && certificate.verify(signedBy.publicKey),
    'that it is a CA': says.isCa && says.isCaCritical && says.pathLength === pathLength,
    'its key usage': says.keyUsage?.keyCertSign === true && says.keyUsage.crlSign,
    'its trust domain': says.uris.join() === `spiffe://${trustDomain}`,
    'its dates': says.notBefore <= now && now < says.notAfter,
    'its key': certificate.publicKey.asymmetricKeyDetails?.namedCurve === 'prime256v1',
  }
  for (const [what, holds] of Object.entries(checks))
    if (!holds) throw invalid(`of a CA certificate ${what} is not as it must be`)
}

const spkiOf = (certificate: X509Certificate): Buffer =>
  certificate.publicKey.export({ format: 'der', type: 'spki' })

function read(pem: string): X509Certificate {
  try {
    return new X509Certificate(pem)
  } catch (error) {
    throw isMeshError(error) ? error : invalid('a certificate cannot be read')
  }
}

const invalid = (why: string): MeshError => new MeshError('CA_ROTATION_INVALID', why)
