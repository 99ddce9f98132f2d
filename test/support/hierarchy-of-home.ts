// The CA of a test's own home as a hierarchy of certs-dev, so that leaves that its CA would never sign are signed by its very key. Only
// a home made by the test has its passphrase; nothing in the product is weakened for it.

import { createPrivateKey, X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import path from 'node:path'
import type { Hierarchy } from '../../certs-dev/hierarchy.js'
import { parseTrustDomain } from '../../mesh/spiffe-id.js'
import { parseTrustBundle } from '../../mesh/trust-bundle.js'

/** @param passphraseFile of the issuing key; `init --dev` leaves it in `<home>/ca/passphrase`. The root's key stays closed. */
export function hierarchyOfHome(home: string, passphraseFile = path.join(home, 'ca/passphrase')): Hierarchy {
  const read = (name: string): string => readFileSync(path.join(home, 'ca', name), 'utf8')
  const root = new X509Certificate(read('root.pem'))
  const issuingKey = createPrivateKey({
    key: read('issuing.key.pem'),
    passphrase: readFileSync(passphraseFile, 'utf8').trim(),
  })
  const uri = /URI:spiffe:\/\/([a-z0-9.-]+)/.exec(root.subjectAltName ?? '')?.[1]
  const trustDomain = parseTrustDomain(uri ?? '')
  const rootPem = root.toString()
  return {
    trustDomain,
    root: { certificate: root, keyPem: '' },
    issuing: {
      certificate: new X509Certificate(read('issuing.pem')),
      keyPem: issuingKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    },
    bundle: parseTrustBundle(trustDomain, rootPem),
    rootPem,
    madeAt: Date.now(),
  }
}
