// Certificates for other people's proxies, of the same kind as ours (ECDSA P-256, an issuing CA between root and leaf), in files.

import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { issueLeaf, makeHierarchy } from '../../../certs-dev/hierarchy.js'

/** Paths of PEM files; `pair`: chain and key in one. */
export interface PeerFiles {
  readonly root: string
  readonly caller: LeafFiles
  readonly app: LeafFiles
}

export interface LeafFiles {
  readonly chain: string
  readonly key: string
  readonly pair: string
}

/** In the certificate of the second proxy. */
export const APP_NAME = 'app.mesh'

export async function writePeerCertificates(dir: string): Promise<PeerFiles> {
  const hierarchy = await makeHierarchy({ trustDomain: 'bench.internal', dev: true })
  const write = (name: string, text: string): string => {
    const file = path.join(dir, name)
    writeFileSync(file, text, { mode: 0o600 })
    return file
  }
  const leaf = async (name: string): Promise<LeafFiles> => {
    const { chainPem, keyPem } = await issueLeaf(hierarchy, `spiffe://bench.internal/agent/${name}`)
    return {
      chain: write(`${name}.pem`, chainPem),
      key: write(`${name}.key`, keyPem),
      pair: write(`${name}.pair.pem`, chainPem + keyPem),
    }
  }
  return { root: write('root.pem', hierarchy.rootPem), caller: await leaf('caller'), app: await leaf('app') }
}
