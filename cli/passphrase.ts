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

const CREDENTIAL = 'troth-ca-passphrase'

/**
 * The passphrase that opens the issuing key.
 * @throws MeshError CONFIG_MISSING also when this home has no CA; PASSPHRASE_MISSING | STATE_PERMISSIONS
 */
export async function readPassphrase(session: Session, file: string | undefined): Promise<string> {
  if (!existsSync(path.join(session.home, 'ca')))
    throw new MeshError('CONFIG_MISSING', `there is no CA in ${session.home}`)
  if (file !== undefined) return fromFile(path.resolve(session.cwd, file))
  const credentials = session.env['CREDENTIALS_DIRECTORY']
  const credential = credentials === undefined ? undefined : readIfThere(path.join(credentials, CREDENTIAL))
  if (credential !== undefined) return firstLine(credential, CREDENTIAL)
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
  const devFile = path.join(session.home, 'ca', 'root-passphrase')
  if (session.dev && readIfThere(devFile) !== undefined) return fromFile(devFile)
  if (isOnTerminal(session)) return askSecret(session, 'passphrase of the root', 'once')
  throw new MeshError('PASSPHRASE_MISSING', 'the passphrase of the root was not given', {
    hint: 'give --root-passphrase-file FILE, or run on a terminal to be asked',
  })
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
): Promise<NewPassphrases> {
  const one = async (file: string | undefined, what: string): Promise<string> => {
    if (file !== undefined) return fromFile(path.resolve(session.cwd, file))
    if (session.dev) return randomBytes(32).toString('base64url')
    if (isOnTerminal(session)) return askSecret(session, what, 'twice')
    throw new MeshError('PASSPHRASE_MISSING', `the ${what} was not given`, {
      hint: 'give --root-passphrase-file FILE and --passphrase-file FILE, or run on a terminal to be asked',
    })
  }
  const root = await one(files.root, 'passphrase of the root')
  return { root, issuing: await one(files.issuing, 'passphrase of the issuing CA') }
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
