// troth ca backup: one encrypted file of the CA, taken while it serves or not.

import path from 'node:path'
import { Command } from 'commander'
import { type DefineCommand, withExamples } from '../../command.js'
import { formatFields, formatInstant } from '../../output.js'
import { readOtherPassphrase } from '../../passphrase.js'
import { asTyped, type Session } from '../../session.js'

interface Options {
  readonly passphraseFile?: string
}

export const backupCommand: DefineCommand = (context) =>
  withExamples(
    new Command('backup')
      .description('write the whole CA into one encrypted file, while it serves')
      .argument('<file>', 'where to; it must not be there yet')
      .option('--passphrase-file <file>', 'passphrase that opens the backup')
      .action((file: string, options: Options) => backup(context.session(), file, options)),
    context,
    'ca backup /mnt/safe/ca.troth-backup',
    'ca backup ca.troth-backup --passphrase-file /etc/troth/backup-passphrase',
  )

async function backup(session: Session, file: string, { passphraseFile }: Options): Promise<void> {
  const { home, cwd, clock, out, json } = session
  const { backupCa } = await import('../../../ca/recovery/backup.js')
  const passphrase = await readOtherPassphrase(session, {
    of: 'backup',
    what: 'passphrase of the backup',
    option: '--passphrase-file',
    file: passphraseFile,
    asked: 'twice',
  })
  const made = await backupCa({ home, file: path.resolve(cwd, file), passphrase, clock })
  if (json) {
    out.json(made)
    return
  }
  const keys = made.keys.length === 0 ? 'none' : `${made.keys.join(', ')}, each under its own passphrase`
  const fields = [
    ['backup', made.file],
    ['size', `${made.bytes} bytes`],
    ['as of', formatInstant(made.takenAt)],
    ['keys', made.onToken ? `${keys}; those of issuing CAs stay on their token` : keys],
  ] as const
  for (const line of formatFields(fields)) out.line(line)
  out.say(`to restore it, in a home without a CA: ${asTyped(session, `ca restore ${file}`)}`)
}
