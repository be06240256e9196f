#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "interface_error.h"
#include "swift_attention.h"

// Each thread has the message of its own last failure, freed with the thread.
static pthread_key_t key;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static int has_key;

static void make_key(void) { has_key = pthread_key_create(&key, free) == 0; }

void interface_set_error(const char *text) { interface_keep_error(strdup(text)); }

void interface_keep_error(char *text) {
  pthread_once(&once, make_key);
  if (!has_key) return free(text);
  free(pthread_getspecific(key));
  pthread_setspecific(key, text);
}

char *interface_take_error(void) {
  pthread_once(&once, make_key);
  if (!has_key) return NULL;
  char *text = pthread_getspecific(key);
  pthread_setspecific(key, NULL);
  return text;
}

const char *sa_error(void) {
  pthread_once(&once, make_key);
  const char *text = has_key ? pthread_getspecific(key) : NULL;
  return text == NULL ? "" : text;
}
