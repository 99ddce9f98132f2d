// troth ca restore: makes a CA out of a backup, in a home that has none.

import path from 'node:path'
import { Command } from 'commander'
import { host } from '../../arguments.js'
import { type DefineCommand, withExamples } from '../../command.js'
import { formatFields, formatInstant } from '../../output.js'
import { readOtherPassphrase } from '../../passphrase.js'
import { asTyped, type Session } from '../../session.js'

interface Options {
  readonly passphraseFile?: string
  readonly address?: string
}

export const restoreCommand: DefineCommand = (context) =>
  withExamples(
    new Command('restore')
      .description('make the CA of this home out of a backup; never over another one')
      .argument('<file>', 'what troth ca backup wrote')
      .option('--passphrase-file <file>', 'passphrase that opens the backup')
      .option('--address <host>', 'where other hosts reach it now, if that is new', host)
      .action((file: string, options: Options) => restore(context.session(), file, options)),
    context,
    'ca restore /mnt/safe/ca.troth-backup',
    'ca restore ca.troth-backup --passphrase-file /etc/troth/backup-passphrase --address 10.0.0.6',
  )

async function restore(session: Session, file: string, options: Options): Promise<void> {
  const { home, cwd, clock, out, json } = session
  const { restoreCa } = await import('../../../ca/recovery/restore.js')
  const passphrase = await readOtherPassphrase(session, {
    of: 'backup',
    what: 'passphrase of the backup',
    option: '--passphrase-file',
    file: options.passphraseFile,
    asked: 'once',
  })
  const address = options.address ?? null
  const made = await restoreCa({ home, file: path.resolve(cwd, file), passphrase, address, clock })
  if (json) {
    out.json(made)
    return
  }
  const fields = [
    ['restored', made.dir],
    ['trust domain', made.trustDomain],
    ['as of', formatInstant(made.takenAt)],
    [
      'waits for',
      made.awaited === 0 ? 'your word' : `${made.awaited} instances to say what was revoked since`,
    ],
  ] as const
  for (const line of formatFields(fields)) out.line(line)
  for (const name of made.kept) out.say(`${name} was here already and was left as it is`)
  out.say('what was registered or pushed after the backup is not in it; it issues nothing until it knows')
  out.say(`next: ${asTyped(session, 'up')}, then ${asTyped(session, 'ca recovery')}`)
}
