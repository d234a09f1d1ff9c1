/* Whether this is a build with the address or the thread sanitizer, by gcc or clang: SANITIZED is 1
 * or 0. Their runtimes need more of the system and of time. */
#ifndef BASE_SANITIZED_H
#define BASE_SANITIZED_H

#define SANITIZED 0
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#undef SANITIZED
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#undef SANITIZED
#define SANITIZED 1
#endif
#endif

#endif
