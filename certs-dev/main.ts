// `npm run certs-dev`: writes a fresh throw-away hierarchy, two right leaves and every wrong one to certs-dev/out (git-ignored). Keys are
// 0600 in a 0700 directory; nothing made here is ever committed.

import path from 'node:path'
import { makePrivateDir, writeFileAtomic, writeSecret } from '../host/files.js'
import { type Hierarchy, issueLeaf, type Leaf, makeHierarchy } from './hierarchy.js'
import { makeWrongLeaves } from './wrong-leaves.js'

const TRUST_DOMAIN = 'dev.internal'

async function main(out: string): Promise<void> {
  const hierarchy = await makeHierarchy({ trustDomain: TRUST_DOMAIN, dev: true })
  const wrong = await makeWrongLeaves(hierarchy, 'planner')
  makePrivateDir(path.join(out, 'wrong'))
  writeHierarchy(out, hierarchy)
  for (const name of ['planner', 'tickets'])
    writeLeaf(path.join(out, name), await issueLeaf(hierarchy, `spiffe://${TRUST_DOMAIN}/agent/${name}`))
  for (const { name, leaf } of wrong) writeLeaf(path.join(out, 'wrong', name), leaf)
  const expected = Object.fromEntries(wrong.map(({ name, code }) => [name, code]))
  writeFileAtomic(path.join(out, 'wrong', 'expected.json'), `${JSON.stringify(expected, null, 2)}\n`, 0o644)
  console.log(`wrote a hierarchy of ${TRUST_DOMAIN}, 2 right leaves and ${wrong.length} wrong ones to ${out}`)
}

function writeHierarchy(out: string, { root, issuing }: Hierarchy): void {
  writeFileAtomic(path.join(out, 'root.pem'), root.certificate.toString(), 0o644)
  writeSecret(path.join(out, 'root.key.pem'), root.keyPem)
  writeFileAtomic(path.join(out, 'issuing.pem'), issuing.certificate.toString(), 0o644)
  writeSecret(path.join(out, 'issuing.key.pem'), issuing.keyPem)
}

function writeLeaf(stem: string, { chainPem, keyPem }: Leaf): void {
  writeFileAtomic(`${stem}.pem`, chainPem, 0o644)
  writeSecret(`${stem}.key.pem`, keyPem)
}

await main(path.join(process.cwd(), 'certs-dev', 'out'))
