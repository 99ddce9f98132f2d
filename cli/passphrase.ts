// Where the passphrases of the CA keys come from: a file, an inherited pipe, a systemd credential, the file of a dev home, or a
// prompt. Never argv, never the environment.

import { randomBytes } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { readIfThere, readSecret, readState } from '../host/files.js'
import { MeshError } from '../mesh/errors.js'
import { readGiven } from './given-file.js'
import { askSecret, isOnTerminal } from './prompt.js'
import type { Session } from './session.js'

/** The descriptor on which `up` hands the passphrase to the CA it starts. */
export const PASSPHRASE_FD = 3

/** systemd credentials (LoadCredential=): the directory is in the environment, the secret in a file of it. */
const CREDENTIAL = {
  issuing: 'troth-ca-passphrase',
  root: 'troth-root-passphrase',
  backup: 'troth-backup-passphrase',
} as const

/**
 * The passphrase that opens the issuing key.
 * @throws MeshError CONFIG_MISSING also when this home has no CA; PASSPHRASE_MISSING | STATE_PERMISSIONS
 */
export async function readPassphrase(session: Session, file: string | undefined): Promise<string> {
  if (!existsSync(path.join(session.home, 'ca')))
    throw new MeshError('CONFIG_MISSING', `there is no CA in ${session.home}`)
  if (file !== undefined) return fromFile(path.resolve(session.cwd, file))
  const credential = fromCredential(session, 'issuing')
  if (credential !== undefined) return credential
  const devFile = path.join(session.home, 'ca', 'passphrase')
  if (session.dev && readIfThere(devFile) !== undefined) return fromFile(devFile)
  if (isOnTerminal(session)) return askSecret(session, 'passphrase of the issuing CA', 'once')
  throw new MeshError('PASSPHRASE_MISSING', 'the passphrase of the issuing CA was not given')
}

/**
 * The passphrase that opens a root's key.
 * @throws MeshError PASSPHRASE_MISSING | CONFIG_MISSING | STATE_PERMISSIONS
 */
export async function readRootPassphrase(session: Session, file: string | undefined): Promise<string> {
  if (file !== undefined) return fromFile(path.resolve(session.cwd, file))
  const credential = fromCredential(session, 'root')
  if (credential !== undefined) return credential
  const devFile = path.join(session.home, 'ca', 'root-passphrase')
  if (session.dev && readIfThere(devFile) !== undefined) return fromFile(devFile)
  if (isOnTerminal(session)) return askSecret(session, 'passphrase of the root', 'once')
  throw new MeshError('PASSPHRASE_MISSING', 'the passphrase of the root was not given', {
    hint: 'give --root-passphrase-file FILE, or run on a terminal to be asked',
  })
}

export interface Wanted {
  readonly of: keyof typeof CREDENTIAL
  /** Names it to a person. */
  readonly what: string
  /** The option that names its file. */
  readonly option: string
  readonly file: string | undefined
  /** `twice` when nothing can check it later. */
  readonly asked: 'once' | 'twice'
}

/**
 * Any other passphrase: from a file, a systemd credential, or a prompt.
 * @throws MeshError PASSPHRASE_MISSING | CONFIG_MISSING | STATE_PERMISSIONS
 */
export async function readOtherPassphrase(session: Session, wanted: Wanted): Promise<string> {
  const { of, what, option, file, asked } = wanted
  if (file !== undefined) return fromFile(path.resolve(session.cwd, file))
  const credential = fromCredential(session, of)
  if (credential !== undefined) return credential
  if (isOnTerminal(session)) return askSecret(session, what, asked)
  throw new MeshError('PASSPHRASE_MISSING', `the ${what} was not given`, {
    hint: `give ${option} FILE, or run on a terminal to be asked`,
  })
}

function fromCredential({ env }: Session, of: keyof typeof CREDENTIAL): string | undefined {
  const dir = env['CREDENTIALS_DIRECTORY']
  const text = dir === undefined ? undefined : readIfThere(path.join(dir, CREDENTIAL[of]))
  return text === undefined ? undefined : firstLine(text, CREDENTIAL[of])
}

/** What the parent wrote into the pipe it gave us. @throws MeshError PASSPHRASE_MISSING */
export function readInheritedPassphrase(): string {
  return firstLine(readFileSync(PASSPHRASE_FD, 'utf8'), 'passphrase pipe')
}

export interface NewPassphrases {
  readonly root: string
  readonly issuing: string
}

/**
 * The passphrases of a new CA: from files, typed twice, or made here in a dev home.
 * @throws MeshError PASSPHRASE_MISSING | CONFIG_MISSING | STATE_PERMISSIONS
 */
export async function readNewPassphrases(
  session: Session,
  files: { root: string | undefined; issuing: string | undefined },
  /** Tokens that are to hold a key have their PIN already. */
  onToken: { root: boolean; issuing: boolean },
): Promise<NewPassphrases> {
  const one = async (of: 'root' | 'issuing', what: string): Promise<string> => {
    const file = files[of]
    if (file !== undefined) return fromFile(path.resolve(session.cwd, file))
    const credential = fromCredential(session, of)
    if (credential !== undefined) return credential
    if (onToken[of] && isOnTerminal(session)) return askSecret(session, `PIN of its token, ${what}`, 'once')
    if (session.dev && !onToken[of]) return randomBytes(32).toString('base64url')
    if (isOnTerminal(session)) return askSecret(session, what, 'twice')
    throw new MeshError('PASSPHRASE_MISSING', `the ${what} was not given`, {
      hint: 'give --root-passphrase-file FILE and --passphrase-file FILE, or run on a terminal to be asked',
    })
  }
  const root = await one('root', 'passphrase of the root')
  return { root, issuing: await one('issuing', 'passphrase of the issuing CA') }
}

/**
 * The passphrase that a file is to be put under: from a file, or typed twice.
 * @throws MeshError PASSPHRASE_MISSING | CONFIG_MISSING | STATE_PERMISSIONS
 */
export async function readNewFilePassphrase(
  session: Session,
  file: string | undefined,
  what: string,
): Promise<string> {
  if (file !== undefined) return fromFile(path.resolve(session.cwd, file))
  if (isOnTerminal(session)) return askSecret(session, what, 'twice')
  throw new MeshError('PASSPHRASE_MISSING', `the ${what} was not given`, {
    hint: 'give --passphrase-file FILE, or run on a terminal to be asked',
  })
}

/** A pipe (`<(pass troth)`) has no permissions to look at; a file must be the owner's alone. */
function fromFile(file: string): string {
  const text = readGiven(file, 'name the file that holds the passphrase', (named) =>
    named.startsWith('/dev/') ? readState(named) : readSecret(named),
  )
  return firstLine(text, file)
}

function firstLine(text: string, place: string): string {
  const line = text.split(/\r?\n/, 1)[0] ?? ''
  if (line === '') throw new MeshError('PASSPHRASE_MISSING', `${place} is empty`)
  return line
}
