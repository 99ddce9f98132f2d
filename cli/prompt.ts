// Asks a person on a terminal: a yes, or a secret that is not echoed. Questions go to stderr, so that stdout stays data.

import { createInterface } from 'node:readline/promises'
import { Writable } from 'node:stream'
import { MeshError } from '../mesh/errors.js'
import type { Session } from './session.js'

export const isOnTerminal = ({ stdin }: Pick<Session, 'stdin'>): boolean => stdin.isTTY === true

/**
 * Lets a destructive command go on: at once with --yes, after a yes on a terminal.
 * @throws MeshError USAGE when the answer is no, or nobody can be asked
 */
export async function confirm(session: Session, question: string, yes: boolean): Promise<void> {
  if (yes) return
  if (!isOnTerminal(session))
    throw new MeshError('USAGE', `${question} nobody can be asked here`, { hint: 'add --yes' })
  const answer = await ask(session, `${question} [y/N] `, 'shown')
  if (!/^y(es)?$/i.test(answer.trim()))
    throw new MeshError('USAGE', 'nothing was done', { hint: 'answer y to go on' })
}

/**
 * A secret typed on the terminal; `twice` when nothing can check it later.
 * @throws MeshError PASSPHRASE_MISSING
 */
export async function askSecret(session: Session, what: string, times: 'once' | 'twice'): Promise<string> {
  const secret = await ask(session, `${what}: `, 'hidden')
  if (secret === '') throw new MeshError('PASSPHRASE_MISSING', `no ${what} was typed`)
  if (times === 'twice' && (await ask(session, `${what} again: `, 'hidden')) !== secret)
    throw new MeshError('PASSPHRASE_MISSING', `the two ${what}s differ`, { hint: 'type it again' })
  return secret
}

async function ask({ stdin }: Session, question: string, echo: 'shown' | 'hidden'): Promise<string> {
  const mute = new Writable({
    write: (chunk: Buffer, _encoding, done) => {
      if (echo === 'shown') process.stderr.write(chunk)
      done()
    },
  })
  process.stderr.write(echo === 'hidden' ? question : '')
  const lines = createInterface({ input: stdin, output: mute, terminal: true })
  const gone = new AbortController()
  lines.once('SIGINT', () => gone.abort())
  lines.once('close', () => gone.abort())
  try {
    return await lines.question(echo === 'shown' ? question : '', { signal: gone.signal })
  } catch (error) {
    throw new MeshError('USAGE', 'interrupted', { cause: error, hint: 'nothing was done' })
  } finally {
    lines.close()
    if (echo === 'hidden') process.stderr.write('\n')
  }
}
