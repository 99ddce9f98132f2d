// troth ca rotate: a new issuing CA or a new root, without an outage. This process opens the root's key, signs and forgets it; the
// serving CA goes on by itself, also when this command is interrupted; run again, it shows how far it is.

import path from 'node:path'
import { Command } from 'commander'
import { pause } from '../../../host/clock.js'
import { MeshError } from '../../../mesh/errors.js'
import type { RotationShown } from '../../../mesh/wire/rotation.js'
import { type AdminClient, adminClientIfUp } from '../../admin-client.js'
import { duration } from '../../arguments.js'
import { type CommandContext, type DefineCommand, withExamples } from '../../command.js'
import { formatInstant } from '../../output.js'
import { readPassphrase, readRootPassphrase } from '../../passphrase.js'
import { confirm } from '../../prompt.js'
import { asTyped, logOf, type Session, stayAlive } from '../../session.js'

interface Options {
  readonly rootPassphraseFile?: string
  readonly rootKey?: string
  readonly passphraseFile?: string
  readonly compromised?: true
  readonly force?: true
  readonly wait?: number
  readonly yes?: true
}

type Kind = RotationShown['kind']

export const rotateCommand: DefineCommand = (context) =>
  withExamples(
    new Command('rotate')
      .description('replace the issuing CA or the root while the mesh runs')
      .addCommand(
        one(context, 'issuing', 'a new issuing CA, signed by the root').option(
          '--compromised',
          'its key was stolen: withdraw all that it signed, and have every member renew at once',
        ),
      )
      .addCommand(one(context, 'root', 'a new root, signed across by the old one, and a new issuing CA')),
    context,
    'ca rotate issuing',
    'ca rotate root --root-passphrase-file /run/keys/root',
  )

const one = (context: CommandContext, kind: Kind, what: string): Command =>
  withExamples(
    new Command(kind)
      .description(what)
      .option('--root-passphrase-file <file>', 'passphrase of the root')
      .option('--root-key <file>', "the root's key, when it was taken off this host")
      .option('--passphrase-file <file>', 'passphrase of the issuing CA; asked for only when no CA runs')
      .option('--force', 'go on without members that do not answer, after naming them')
      .option('--wait <time>', 'stop watching after that long; the CA goes on by itself', duration)
      .option('--yes', 'do not ask')
      .action((options: Options) => rotate(context.session(), kind, options)),
    context,
    `ca rotate ${kind}`,
    `ca rotate ${kind} --force --yes`,
  )

async function rotate(session: Session, kind: Kind, options: Options): Promise<void> {
  const { home, out } = session
  const compromised = options.compromised === true
  if (compromised)
    await confirm(session, 'withdraw everything that the issuing CA has signed?', options.yes === true)
  const admin = await adminClientIfUp(home)
  if (admin === null) {
    await rotateAlone(session, kind, options)
    return
  }
  const { rotation, toSign } = await admin.rotate({ kind, compromised })
  let root: Root | undefined
  if (toSign === null)
    out.say(`going on with the rotation of the ${kind} CA, begun ${formatInstant(rotation.startedAt)}`)
  else {
    const { signForRotation } = await import('../../../ca/rotate.js')
    root = await rootOf(session, options)
    await admin.deliverSigned(await signForRotation(root, toSign))
  }
  const letGo = stayAlive()
  try {
    await watch(session, admin, kind, options)
    if (kind === 'root' && root !== undefined) await destroyFormer(session, admin, root)
  } finally {
    letGo()
  }
}

/** On a token only, where the serving CA cannot; after an interrupted command the next rotation of the root does it. */
async function destroyFormer({ out, json }: Session, admin: AdminClient, root: Root): Promise<void> {
  const { rotation, rootKeyLabel } = await admin.status()
  if (rotation !== null) return
  const { destroyFormerRoots } = await import('../../../ca/rotate.js')
  const destroyed = await destroyFormerRoots(root, rootKeyLabel)
  if (destroyed > 0 && !json) out.say('the key of the old root is destroyed on its token')
}

interface Root {
  readonly home: string
  readonly dev: boolean
  readonly rootPassphrase: string
  readonly rootKeyFile: string | null
  readonly clock: Session['clock']
}

async function rootOf(session: Session, { rootPassphraseFile, rootKey }: Options): Promise<Root> {
  const { home, dev, clock, cwd } = session
  const rootPassphrase = await readRootPassphrase(session, rootPassphraseFile)
  return {
    home,
    dev,
    rootPassphrase,
    rootKeyFile: rootKey === undefined ? null : path.resolve(cwd, rootKey),
    clock,
  }
}

/** Nobody serves, perhaps because everything has expired: then there is nobody to wait for. */
async function rotateAlone(session: Session, kind: Kind, options: Options): Promise<void> {
  const { out, json } = session
  const passphrase = await readPassphrase(session, options.passphraseFile)
  const { rotateOffline } = await import('../../../ca/rotate.js')
  const left = await rotateOffline({
    ...(await rootOf(session, options)),
    passphrase,
    wanted: { kind, compromised: options.compromised === true },
    log: logOf(session, 'warn'),
  })
  if (json) out.json({ rotation: left })
  else if (left === null) out.line(`the ${kind} CA is replaced; start the CA: ${asTyped(session, 'up')}`)
  else {
    out.line(`no CA runs: the rotation stands at ${left.phase}`)
    out.say(`start the CA, which goes on with it: ${asTyped(session, 'up')}`)
  }
}

const LOOK_MS = 200
/** With --force: members that are there have answered by then. */
const FORCE_AFTER_MS = 10_000

interface Watching {
  readonly session: Session
  readonly admin: AdminClient
  readonly kind: Kind
  readonly options: Options
}

async function watch(session: Session, admin: AdminClient, kind: Kind, options: Options): Promise<void> {
  const { clock, out, json } = session
  const never = new AbortController().signal
  const startedAt = clock.monotonic()
  let told = { phase: '', said: '', at: startedAt }
  for (;;) {
    const { rotation } = await admin.rotation()
    if (rotation === null) break
    const { phase } = rotation
    const lines = sayingOf(rotation)
    const said = lines.join('; ')
    if (said !== told.said) tell(session, rotation, lines)
    told = { phase, said, at: phase === told.phase ? told.at : clock.monotonic() }
    const forMs = { phase: clock.monotonic() - told.at, all: clock.monotonic() - startedAt }
    await loseNoMoreTime({ session, admin, kind, options }, rotation, forMs)
    await pause(clock, LOOK_MS, never)
  }
  if (json) out.json({ rotation: null })
  else out.line(`the ${kind} CA is replaced`)
  if (kind === 'root') out.say('what trusts the root by a file of its own needs the new one: troth ca bundle')
}

function tell({ out, json }: Session, rotation: RotationShown, lines: readonly string[]): void {
  if (json) out.json({ rotation })
  else for (const line of lines) out.line(line)
}

/** What --force and --wait were given for. */
async function loseNoMoreTime(
  { session, admin, kind, options }: Watching,
  { waitsFor }: RotationShown,
  forMs: { readonly phase: number; readonly all: number },
): Promise<void> {
  if (options.force === true && forMs.phase > FORCE_AFTER_MS) {
    await confirm(session, `go on without ${waitsFor.length} members?`, options.yes === true)
    await admin.forceRotation()
  }
  if (options.wait !== undefined && forMs.all > options.wait)
    throw new MeshError(
      'CA_ROTATION_BLOCKED',
      `the rotation of the ${kind} CA waits for ${waitsFor.length} members`,
      {
        hint: `see who is missing: troth ca status; to go on without them: troth ca rotate ${kind} --force`,
      },
    )
}

const PHASES: Readonly<Record<RotationShown['phase'], string>> = {
  prepare: 'waits for the signature of the root',
  distribute: 'members are told of the new CA',
  renew: 'the new CA signs; members renew',
}

/** The phase, and who is waited for. */
export function sayingOf({ phase, waitsFor, tokensUntil, leavesBehind }: RotationShown): string[] {
  return [
    `${phase}: ${PHASES[phase]}`,
    ...waitsFor.map(
      ({ id, instanceId, until }) =>
        `  waits for ${id} (instance ${instanceId}), at most until ${formatInstant(until)}`,
    ),
    ...(tokensUntil > 0
      ? [`  waits for join tokens of the old root until ${formatInstant(tokensUntil)}`]
      : []),
    ...leavesBehind.map(
      (id) => `  leaves behind ${id}, which is suspended: it needs a token when it is resumed`,
    ),
  ]
}
