// Where the keys of a CA live, as init chose it: `<home>/ca/keys.json`, there only when a token holds one. It names module and
// tokens; no PIN.

import { randomBytes } from 'node:crypto'
import path from 'node:path'
import { readIfThere, writeSecret } from '../../host/files.js'
import { MeshError } from '../../mesh/errors.js'
import { integer, nullable, type Read, readJson, record, text } from '../../mesh/parse.js'

const READ_CHOICE = record({
  version: integer(1, 1),
  module: text(4096),
  /** What names of keys on the tokens begin with. */
  prefix: text(64),
  /** Label of the token with the keys of issuing CAs. */
  issuingToken: text(32),
  /** Label of the token with the root's key; null: an encrypted file. */
  rootToken: nullable(text(32)),
})

/** Null: all keys are encrypted files. */
export type KeyChoice = Omit<Read<typeof READ_CHOICE>, 'version'> | null

/** A choice with a prefix of its own. */
export const onTokens = (tokens: Omit<NonNullable<KeyChoice>, 'prefix'>): KeyChoice => ({
  ...tokens,
  prefix: `troth-${randomBytes(4).toString('hex')}`,
})

const fileOf = (dir: string): string => path.join(dir, 'keys.json')

export function writeKeyChoice(dir: string, choice: KeyChoice): void {
  if (choice !== null) writeSecret(fileOf(dir), `${JSON.stringify({ version: 1, ...choice })}\n`)
}

/** @throws MeshError STATE_UNREADABLE */
export function readKeyChoice(dir: string): KeyChoice {
  const json = readIfThere(fileOf(dir))
  if (json === undefined) return null
  try {
    const { version: _version, ...choice } = readJson(json, READ_CHOICE, 'keys.json')
    return choice
  } catch (error) {
    throw new MeshError('STATE_UNREADABLE', `${fileOf(dir)} cannot be read`, { cause: error })
  }
}
