// The command's side of a rotation, on the CA's host: opens the root's key, signs, and gives back certificates; and mends a CA that
// nobody can serve any more, because everything in it has expired. The serving CA does the rest (rotation/).

import path from 'node:path'
import type { Clock } from '../host/clock.js'
import { lockDir } from '../host/files.js'
import type { Log } from '../host/log.js'
import type { Rotate, RotationShown, Signed, ToSign } from '../mesh/wire/rotation.js'
import { LOCAL_ADMIN } from './actor.js'
import { openCaAudit } from './audit.js'
import { openClosers } from './closers.js'
import { openHierarchy, rootLabelOf } from './hierarchy.js'
import { openKeyFile } from './keys/file-keys.js'
import { readKeyChoice } from './keys/key-choice.js'
import { openKeyStore } from './keys/key-store.js'
import { type Audited, openMachine } from './rotation/machine.js'
import { type SignedByRoot, signByRoot } from './rotation/root-signs.js'
import { openCaStore } from './store.js'

export interface RootOptions {
  readonly home: string
  readonly dev: boolean
  /** Opens the key of the root that is, and keeps the key of one that is to be. */
  readonly rootPassphrase: string
  /** The key of the root, when it was taken away from the home; null: it is there. */
  readonly rootKeyFile: string | null
  readonly clock: Clock
}

/**
 * Has the root sign what a rotation asks for.
 * @throws MeshError PASSPHRASE_WRONG | ROOT_KEY_ABSENT | STATE_UNREADABLE | CA_EXPIRED, and those of a token
 */
export async function signForRotation(options: RootOptions, asked: ToSign): Promise<Signed> {
  const { home, dev, rootPassphrase, rootKeyFile, clock } = options
  const secrets = { root: rootPassphrase, issuing: null }
  const keys = await openKeyStore({ dir: path.join(home, 'ca'), secrets, dev })
  try {
    const openRoot = () =>
      rootKeyFile === null ? keys.open(asked.rootKeyLabel) : openKeyFile(rootKeyFile, rootPassphrase)
    return wireOf(await signByRoot({ asked, openRoot, keys, now: clock.now() }))
  } finally {
    await keys.close()
  }
}

/**
 * Destroys the keys of former roots on their token, which a serving CA cannot: it does not have the PIN. Nothing happens where the
 * roots' keys are files.
 * @param current the label of the root that is
 * @returns how many were destroyed
 * @throws MeshError PASSPHRASE_MISSING | PKCS11_*
 */
export async function destroyFormerRoots(
  { home, dev, rootPassphrase }: Pick<RootOptions, 'home' | 'dev' | 'rootPassphrase'>,
  current: string,
): Promise<number> {
  const dir = path.join(home, 'ca')
  if ((readKeyChoice(dir)?.rootToken ?? null) === null) return 0
  const keys = await openKeyStore({ dir, secrets: { root: rootPassphrase, issuing: null }, dev })
  try {
    const former = (await keys.list('root')).filter((label) => label !== current)
    for (const label of former) await keys.destroy(label)
    return former.length
  } finally {
    await keys.close()
  }
}

function wireOf({ issuing, root, cross, crls }: SignedByRoot): Signed {
  return {
    issuingPem: issuing.toString(),
    rootPem: root?.toString() ?? null,
    crossPem: cross?.toString() ?? null,
    crls: crls.map(({ der, ...rest }) => ({ ...rest, der: der.toString('base64') })),
  }
}

export interface OfflineOptions extends RootOptions {
  /** Opens the issuing keys. */
  readonly passphrase: string
  readonly wanted: Rotate
  readonly log: Log
}

/**
 * A rotation without a serving CA: as far as nobody has to be waited for, which is to its end when everything has expired. A CA that is
 * started after it goes on with the rest.
 * @returns what is still open
 * @throws MeshError STATE_IN_USE when a CA runs, CA_ROTATION_RUNNING, and those of `signForRotation`
 */
export async function rotateOffline(options: OfflineOptions): Promise<RotationShown | null> {
  const { home, dev, passphrase, wanted, clock, log } = options
  const dir = path.join(home, 'ca')
  const closers = openClosers()
  const now = (): number => clock.now()
  try {
    const lock = lockDir(dir)
    closers.add(() => lock.release())
    const store = openCaStore(path.join(dir, 'ca.db'))
    closers.add(() => store.close())
    const keys = await openKeyStore({ dir, secrets: { root: null, issuing: passphrase }, dev })
    closers.add(() => keys.close())
    const audit = openCaAudit({ store, clock, log })
    closers.add(() => audit.close())
    const { trustDomain } = await store.mesh()
    const hierarchy = await openHierarchy({ dir, trustDomain, store, keys, dev, now, toBe: 'mended' })
    const machine = openMachine({
      store,
      hierarchy,
      keys,
      now,
      keepCrl: (crl) => store.saveCrl(crl),
      inForce: async (step) => {
        if ((await step()) === undefined) return false
        await hierarchy.reload()
        return true
      },
    })
    const audited: Audited = (phase, act) =>
      audit.runAnyway(
        LOCAL_ADMIN,
        {
          what: `ca.rotate.${wanted.kind}`,
          object: wanted.kind,
          detail: (done) => `${phase(done)}, offline`,
        },
        act,
      )
    const { toSign } = await machine.begin(wanted, audited)
    if (toSign !== null) await machine.deliver(await signForRotation(options, toSign), audited)
    await machine.advance()
    const left = await machine.show()
    if (left === null) await destroyFormerRoots(options, rootLabelOf(hierarchy))
    return left
  } finally {
    await closers.close()
  }
}
