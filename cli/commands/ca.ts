// troth ca: the certificate authority of this home. Lists its verbs; each is a file of cli/commands/ca/.

import { Command } from 'commander'
import { type DefineCommand, withExamples } from '../command.js'
import { addressCommand } from './ca/address.js'
import { backupCommand } from './ca/backup.js'
import { bundleCommand } from './ca/bundle.js'
import { crlCommand } from './ca/crl.js'
import { recoveryCommand } from './ca/recovery.js'
import { restoreCommand } from './ca/restore.js'
import { rootCommand } from './ca/root.js'
import { rotateCommand } from './ca/rotate.js'
import { serveCommand } from './ca/serve.js'
import { statusCommand } from './ca/status.js'

/** In the order of --help. */
const VERBS: readonly DefineCommand[] = [
  serveCommand,
  statusCommand,
  addressCommand,
  rotateCommand,
  rootCommand,
  backupCommand,
  restoreCommand,
  recoveryCommand,
  crlCommand,
  bundleCommand,
]

export const caCommand: DefineCommand = (context) => {
  const command = new Command('ca').description('the certificate authority of this home')
  for (const define of VERBS) command.addCommand(define(context))
  return withExamples(command, context, 'ca serve', 'ca address 10.0.0.5')
}
