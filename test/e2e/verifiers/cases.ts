// The real certificates of a mesh made by the CLI, and what must be refused beside them, as files for verifiers that we did not write.

import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import tls from 'node:tls'
import { makeWrongLeaves } from '../../../certs-dev/wrong-leaves.js'
import { TLS_FLOOR } from '../../../host/tls.js'
import { splitPem } from '../../../mesh/trust-bundle.js'
import { hierarchyOfHome } from '../../support/hierarchy-of-home.js'

export type Usage = 'client' | 'server'

/** One question to a verifier; the files are PEM. */
export interface Case {
  readonly name: string
  readonly usage: Usage
  readonly root: string
  /** Leaf, then what vouches for it; without the root. */
  readonly chain: string
  readonly leaf: string
  /** What vouches for the leaf, a file each. */
  readonly above: readonly string[]
  readonly isRight: boolean
}

const BOTH: readonly Usage[] = ['client', 'server']

/** Wrong for everybody, or only for one usage. */
const WRONG: Readonly<Record<string, readonly Usage[]>> = {
  expired: BOTH,
  'not-yet-valid': BOTH,
  'foreign-root': BOTH,
  'issued-by-a-leaf': BOTH,
  'self-signed': BOTH,
  'server-auth-only': ['client'],
  'client-auth-only': ['server'],
}

/**
 * Writes them into `dir`.
 * @param right chains of the mesh by what they are, PEM, leaf first; a root among them is left out
 */
export async function writeCases(
  dir: string,
  home: { readonly dir: string; readonly passphraseFile: string },
  right: Readonly<Record<string, string>>,
): Promise<Case[]> {
  const hierarchy = hierarchyOfHome(home.dir, home.passphraseFile)
  const root = path.join(dir, 'root.pem')
  writeFileSync(root, hierarchy.rootPem)
  const write = (name: string, pem: string): Pick<Case, 'root' | 'chain' | 'leaf' | 'above'> => {
    const file = (what: string, content: string): string => {
      const at = path.join(dir, `${name}.${what}.pem`)
      writeFileSync(at, content)
      return at
    }
    const [leaf = '', ...above] = splitPem(pem)
      .map(String)
      .filter((each) => each !== hierarchy.rootPem)
    return {
      root,
      chain: file('chain', [leaf, ...above].join('')),
      leaf: file('leaf', leaf),
      above: above.map((each, index) => file(`above-${index}`, each)),
    }
  }
  const cases: Case[] = []
  for (const [name, pem] of Object.entries(right)) {
    const files = write(name, pem)
    for (const usage of BOTH) cases.push({ name, usage, ...files, isRight: true })
  }
  const wrong = await makeWrongLeaves(hierarchy, 'planner')
  for (const [name, usages] of Object.entries(WRONG)) {
    const found = wrong.find((each) => each.name === name)
    if (found === undefined) throw new Error(`certs-dev makes no leaf ${name}`)
    const files = write(name, found.leaf.chainPem)
    for (const usage of usages) cases.push({ name, usage, ...files, isRight: false })
  }
  return cases
}

/** What the CA's own server presents, PEM, leaf first. */
export function chainOfServer(port: number, rootFile: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = tls.connect(
      { ...TLS_FLOOR, host: '127.0.0.1', port, ca: readFileSync(rootFile), ALPNProtocols: ['http/1.1'] },
      () => {
        const chain: string[] = []
        let next = socket.getPeerX509Certificate()
        while (next !== undefined && !chain.includes(next.toString())) {
          chain.push(next.toString())
          next = next.issuerCertificate
        }
        socket.destroy()
        resolve(chain.join(''))
      },
    )
    socket.once('error', reject)
  })
}
