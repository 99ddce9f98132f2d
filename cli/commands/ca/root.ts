// troth ca root: takes the root's key off this machine.

import path from 'node:path'
import { Command } from 'commander'
import { type CommandContext, type DefineCommand, withExamples } from '../../command.js'
import { readRootPassphrase } from '../../passphrase.js'
import { asTyped, type Session } from '../../session.js'

interface Options {
  readonly offline: string
  readonly rootPassphraseFile?: string
}

export const rootCommand: DefineCommand = (context) =>
  withExamples(
    new Command('root')
      .description("the root's key, needed only for a rotation")
      .addCommand(exportCommand(context)),
    context,
    'ca root export --offline /media/usb',
    'ca root export --offline /media/usb/root.key.pem --root-passphrase-file /media/usb/passphrase',
  )

const exportCommand = (context: CommandContext): Command =>
  withExamples(
    new Command('export')
      .description("move the root's key, still encrypted, to another place; the copy is proved first")
      .requiredOption('--offline <path>', 'a directory, or a file that is not there yet')
      .option('--root-passphrase-file <file>', 'passphrase of the root')
      .action((options: Options) => exportRoot(context.session(), options)),
    context,
    'ca root export --offline /media/usb',
    'ca root export --offline /media/usb/root.key.pem --root-passphrase-file /media/usb/passphrase',
  )

async function exportRoot(session: Session, { offline, rootPassphraseFile }: Options): Promise<void> {
  const { home, cwd, out, json } = session
  const { exportRootKey, rootKeyPlace } = await import('../../../ca/recovery/root-export.js')
  const dir = path.join(home, 'ca')
  const to = path.resolve(cwd, offline)
  // before anybody is asked for a passphrase
  const isHere = rootKeyPlace(dir) === 'here'
  const passphrase = !isHere ? '' : await readRootPassphrase(session, rootPassphraseFile)
  const files = await exportRootKey({ dir, to, passphrase })
  if (json) {
    out.json({ files })
    return
  }
  for (const file of files) out.line(file)
  out.say(
    `the key is off this machine once that medium is; a rotation needs it: ${asTyped(session, `ca rotate issuing --root-key ${files[0] ?? ''}`)}`,
  )
}
