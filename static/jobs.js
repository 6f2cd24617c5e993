/* The job panel: where the focus goes when a job starts, ends or is closed, and what other tabs have done. */

import { closeDialog } from './dialog.js'
import { find } from './page.js'
import { clearSelection } from './selection.js'

document.addEventListener('job-started', () => {
  closeDialog()
  clearSelection()
  find('#job-title')?.focus()
})

document.addEventListener('job-steered', () => find('#job-title')?.focus())

document.addEventListener('job-finished', () => {
  const isElsewhere = document.activeElement.closest('#list, #filter, dialog')
  if (!isElsewhere) find('#job-title')?.focus()
  window.htmx.trigger('#list', 'refresh')
})

document.addEventListener('job-closed', () => {
  find('#job-title, #top')?.focus()
  window.htmx.trigger('#list', 'refresh')
})

/** Another tab may have started, stopped or closed a job: show the same here. */
function lookAgain() {
  if (find('#job') && navigator.onLine) window.htmx.trigger('#job', 'seen')
}

window.addEventListener('focus', lookAgain)
document.addEventListener('job-asked', lookAgain)
document.addEventListener('visibilitychange', () => {
  if (!document.hidden) lookAgain()
})
